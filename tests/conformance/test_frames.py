"""`teleloop conform frames`: hex, pcap, recordings; what is right passes, what is wrong is found by its requirement."""

import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench.conformance import packets, pcap
from bench.conformance.captures import Captures, Keys, Reading, read_file
from bench.conformance.packets import Connect, Publish
from bench.conformance.requirement import lint, proofs, requirements, select
from bench.recording import RecordingWriter
from protocols.cloudboxx import PROTOCOL
from protocols.codec import Frame, Report, UnitId
from protocols.recording import Record
from protocols.teltonika import PROTOCOL as TELTONIKA
from protocols.teltonika_session import avl, login, record
from teleloop import app

QNR, KEY, AT = "0123456789ABCDEF", bytes(range(32)), 1_795_446_000_000
TOPIC = f"v1/CLOUDBOXX/{QNR}/up"
SOURCE, TARGET = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])


def state(sequence: int, **signals: int) -> bytes:
    said = {"oldest_sequence": 1, "latitude": 509_370_000, "longitude": 69_600_000, "gnss_fix": 3, "satellites": 9, **signals}
    at = AT + 1000 * sequence
    return PROTOCOL.encode(Frame("state", QNR, sequence, at, (Report(b"", at, said),), {"flags": 0}), KEY)


def conform(*words: str) -> tuple[int, dict[str, Any]]:
    """The exit code and the document of `teleloop conform frames ... --json`."""
    done = CliRunner().invoke(app, ["conform", "frames", *words, "--json"])
    assert done.exit_code in (0, 1), done.output
    return done.exit_code, json.loads(done.stdout)


def verdicts(document: dict[str, Any]) -> dict[str, str]:
    return {each["id"]: each["verdict"] for each in document["requirements"]}


# Captured traffic --------------------------------------------------------------------------------------------------------


def segment(sequence: int, data: bytes, flags: int = 0x18, v6: bool = False) -> bytes:
    """An IP packet with a TCP segment from port 40000 to 1883."""
    tcp = struct.pack(">HHIIBBHHH", 40_000, 1883, sequence & 0xFFFFFFFF, 0, 5 << 4, flags, 1024, 0, 0) + data
    if v6:
        return struct.pack(">IHBB", 6 << 28, len(tcp), 6, 64) + SOURCE.rjust(16, b"\0") + TARGET.rjust(16, b"\0") + tcp
    return struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 1, 0x4000, 64, 6, 0) + SOURCE + TARGET + tcp


def ethernet(data: bytes) -> bytes:
    return bytes(12) + (b"\x86\xdd" if data[0] >> 4 == 6 else b"\x08\x00") + data


def pcap_file(frames: Sequence[bytes], link: int = 1, order: str = "<") -> bytes:
    head = struct.pack(order + "IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link)
    return head + b"".join(
        struct.pack(order + "IIII", AT // 1000, number, len(each), len(each)) + each for number, each in enumerate(frames)
    )


def pcapng_file(frames: Sequence[bytes], link: int = 1) -> bytes:
    def block(kind: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 4)
        return struct.pack("<II", kind, len(body) + 12) + body + struct.pack("<I", len(body) + 12)

    found = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)) + block(1, struct.pack("<HHI", link, 0, 65535))
    for each in frames:
        found += block(6, struct.pack("<IIIII", 0, AT * 1000 >> 32, AT * 1000 & 0xFFFFFFFF, len(each), len(each)) + each)
    return found


def session(*payloads: bytes) -> bytes:
    """What a unit says on its MQTT connection."""
    said = packets.connect(Connect(f"CLOUDBOXX/{QNR}", False, 30, user_name=f"CLOUDBOXX/{QNR}", password=b"secret"))
    return said + b"".join(packets.publish(Publish(TOPIC, payload, 1, number)) for number, payload in enumerate(payloads, 1))


def segments(stream: bytes, size: int = 50, first: int = 0xFFFFFF80, v6: bool = False) -> list[bytes]:
    """The stream in segments; the sequence numbers wrap."""
    found = [segment(first - 1, b"", 0x02, v6)]
    return found + [segment(first + at, stream[at : at + size], v6=v6) for at in range(0, len(stream), size)]


PAYLOADS = [state(number) + state(number + 1) for number in range(1, 9, 2)]

SHUFFLES: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "in order": lambda found: found,
    "out of order": lambda found: [found[0], *found[2:6], found[1], *found[6:]],
    "retransmitted": lambda found: [each for one in found for each in (one, one)],
    "overlapping": lambda found: [*found[:3], found[1], found[2], *found[3:], found[4]],
}


@pytest.mark.parametrize("shuffle", SHUFFLES)
@pytest.mark.parametrize("form", ["pcap", "big-endian pcap", "pcapng", "ipv6", "cooked", "loopback"])
def test_messages_are_found_in_captured_traffic_however_it_was_captured(form: str, shuffle: str, tmp_path: Path):
    found = SHUFFLES[shuffle](segments(session(*PAYLOADS), v6=form == "ipv6"))
    data = {
        "pcap": lambda: pcap_file(list(map(ethernet, found))),
        "big-endian pcap": lambda: pcap_file(list(map(ethernet, found)), order=">"),
        "pcapng": lambda: pcapng_file(list(map(ethernet, found))),
        "ipv6": lambda: pcap_file(list(map(ethernet, found))),
        "cooked": lambda: pcap_file([bytes(14) + b"\x08\x00" + each for each in found], 113),
        "loopback": lambda: pcap_file([b"\2\0\0\0" + each for each in found], 0),
    }[form]()
    (tmp_path / "capture").write_bytes(data)
    captured = read_file(tmp_path / "capture", Reading())
    assert [each.payload for each in captured] == PAYLOADS
    assert {(str(each.unit), each.direction) for each in captured} == {(f"CLOUDBOXX/{QNR}", "up")}


def test_a_capture_that_begins_in_the_middle_and_has_a_hole_still_gives_what_is_whole():
    found = segments(session(*PAYLOADS), size=40)[3:]
    del found[8]
    seen = [
        said.publish.payload for stream in pcap.streams(pcap_file(list(map(ethernet, found)))) for said in pcap.messages(stream)
    ]
    assert 1 <= len(seen) < len(PAYLOADS)
    assert set(seen) <= set(PAYLOADS)


def test_garbage_in_a_capture_raises_nothing_but_its_own_error():
    for data in (b"\xd4\xc3\xb2\xa1", pcap_file([b"x" * 60, b"", ethernet(b"\x45")]), pcapng_file([b"y" * 20]) + b"\0" * 11):
        try:
            for stream in pcap.streams(data):
                list(pcap.messages(stream))
        except pcap.CaptureError:
            pass


# Verdicts ----------------------------------------------------------------------------------------------------------------


def test_good_frames_hold_and_say_what_was_not_executed_and_why(tmp_path: Path):
    (tmp_path / "good.pcap").write_bytes(pcap_file(list(map(ethernet, segments(session(*PAYLOADS))))))
    code, document = conform(str(tmp_path / "good.pcap"), "--seal-key", KEY.hex(), "--unit", QNR)
    assert code == 0
    assert document["summary"]["fail"] == 0
    assert document["summary"]["pass"] >= 20
    found = verdicts(document)
    assert found["CBX-FRAME-009"] == found["CBX-FRAME-012"] == found["CBX-SEQ-001"] == "pass"
    for each in document["requirements"]:
        assert each.keys() == {"id", "level", "verdict", "reason", "evidence"}
        assert each["reason"]
        assert each["verdict"] != "not_executed" or each["evidence"]["todo"]


BROKEN = {
    "CBX-FRAME-001": lambda: b"\xca" + state(1)[1:],
    "CBX-FRAME-004": lambda: PROTOCOL.encode(Frame("state", "00000000000000FF", 1, AT, (Report(b"", AT, {}),), {}), KEY),
    "CBX-FRAME-008": lambda: state(1)[:-1] + bytes([state(1)[-1] ^ 1]),
    "CBX-FRAME-009": lambda: PROTOCOL.encode(Frame("state", QNR, 1, AT, (Report(b"", AT, {}),), {}), bytes(32)),
    "CBX-FRAME-012": lambda: PROTOCOL.acknowledge(QNR, 1, 0, AT, KEY),
    "CBX-STATE-004": lambda: state(1, latitude=900_000_001),
    "CBX-STATE-005": lambda: PROTOCOL.encode(Frame("state", QNR, 1, AT, (Report(b"", AT, {"latitude": 1}),), {}), KEY),
    "CBX-STATE-007": lambda: state(1, gnss_fix=4),
    "CBX-STATE-003": lambda: PROTOCOL.encode(Frame("state", QNR, 1, AT, (Report(b"", AT, {"satellites": 1}),), {}), KEY),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_bad_frame_is_found_by_its_requirement_with_its_bytes(name: str, tmp_path: Path):
    with RecordingWriter(tmp_path / "bad.rec", {}) as writer:
        writer.append(Record(AT * 1000, TOPIC, BROKEN[name]()))
    units = {"brand": "CLOUDBOXX", "telematics_unit_id": QNR, "vehicle_model_id": "x", "password": "x"}
    secrets = {"seal_key": KEY.hex(), "command_key": KEY.hex()}
    (tmp_path / "units.json").write_text(json.dumps({"units": [units | secrets]}))
    code, document = conform(str(tmp_path / "bad.rec"), "--units", str(tmp_path / "units.json"))
    assert code == 1
    found = next(each for each in document["requirements"] if each["id"] == name)
    assert found["verdict"] == "fail"
    assert found["evidence"]["expected"]
    assert found["evidence"]["seen"]
    assert bytes.fromhex(found["evidence"]["bytes"])
    assert found["evidence"]["log"]


def test_what_only_should_hold_fails_with_strict_alone(tmp_path: Path):
    (tmp_path / "odd.hex").write_text(
        PROTOCOL.encode(Frame("state", QNR, 1, 0, (Report(b"", 0, {"oldest_sequence": 1}),), {}), KEY).hex()
    )
    code, document = conform(str(tmp_path / "odd.hex"))
    assert (code, verdicts(document)["CBX-FRAME-013"]) == (0, "fail")
    assert conform(str(tmp_path / "odd.hex"), "--strict")[0] == 1


def test_reports_for_people_and_machines(tmp_path: Path):
    (tmp_path / "bad.hex").write_text(f"{BROKEN['CBX-FRAME-008']().hex()}\n")
    page, xml = tmp_path / "report.html", tmp_path / "report.xml"
    conform(str(tmp_path / "bad.hex"), "--html", str(page), "--junit", str(xml))
    text = page.read_text()
    assert "FAIL" in text
    assert "captured.seconds" in text
    assert "http" not in text.replace("https://json-schema.org", "")
    assert '<testcase classname="conform.cloudboxx" name="CBX-FRAME-008"><failure' in xml.read_text()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", []),
        (b"0g", []),
        (b"012", []),
        (b"\xd4\xc3\xb2\xa1" + bytes(20), []),
        (b"00", ["--brand", "NOBODY"]),
        (b"00", ["--only", "XYZ-*"]),
    ],
)
def test_what_cannot_be_judged_is_one_sentence_and_exit_code_2(content: bytes, words: list[str], tmp_path: Path):
    (tmp_path / "file").write_bytes(content)
    done = CliRunner().invoke(app, ["conform", "frames", str(tmp_path / "file"), *words])
    assert done.exit_code == 2
    assert len(done.stderr.strip().splitlines()) == 1


def test_teltonika_logins_records_and_answers(tmp_path: Path):
    imei = "356307042441013"
    topic = f"v1/TELTONIKA/{imei}/"
    with RecordingWriter(tmp_path / "session.rec", {}) as writer:
        said = [("up", TELTONIKA.encode(login(imei))), ("down", b"\1")]
        said += [
            ("up", TELTONIKA.encode(avl(0x8E, [record(0x8E, AT, {"satellites": 9, "io_239": 1})]))),
            ("down", bytes(3) + b"\1"),
        ]
        for number, (channel, payload) in enumerate(said):
            writer.append(Record(AT * 1000 + number, topic + channel, payload))
    code, document = conform(str(tmp_path / "session.rec"))
    assert (code, document["summary"]["fail"]) == (0, 0)
    assert verdicts(document)["TEL-ANSWER-001"] == "pass"


# The tables --------------------------------------------------------------------------------------------------------------


def test_every_requirement_has_a_check_and_every_check_a_requirement():
    assert lint() == []
    assert requirements().keys() == proofs().keys()
    assert CliRunner().invoke(app, ["conform", "--lint"]).exit_code == 0


def test_there_are_as_many_as_promised():
    of = [each.protocol for each in requirements().values()]
    assert of.count("cloudboxx") + of.count("vtc") >= 60
    assert all(of.count(each) >= 40 for each in ("teltonika", "gbt32960", "autoapi"))
    assert of.count("oneapi") >= 60
    assert all(each.sentence.endswith(".") and each.source for each in requirements().values())


def test_only_takes_ids_globs_and_levels():
    every = list(requirements().values())
    assert [each.id for each in select(every, ["cbx-frame-001"])] == ["CBX-FRAME-001"]
    assert {each.level for each in select(every, ["CBX-*,should"])} == {"should"}
    with pytest.raises(ValueError, match="no requirement"):
        select(every, ["NOPE-*"])


def test_a_requirement_is_explained():
    done = CliRunner().invoke(app, ["conform", "--explain", "VTC-REPLAY-003"])
    assert done.exit_code == 0
    assert "the counter is stored" in done.output
    assert CliRunner().invoke(app, ["conform", "--explain", "NOPE-1"]).exit_code == 2


def test_a_check_that_finds_nothing_to_look_at_does_not_pass():
    empty = Captures([], Keys())
    for each in requirements().values():
        if each.side == "frame":
            with pytest.raises(Exception, match=r"."):
                proofs()[each.id](empty)
    assert UnitId("CLOUDBOXX", QNR)
