"""The checks of captured Teltonika packets."""

from collections.abc import Callable
from itertools import pairwise

from bench.conformance.captures import Captures, Piece
from bench.conformance.checks.frames import error_check, field_check, of_kind, sound
from bench.conformance.requirement import NotExecuted, proves
from modeldb.brand import luhn_holds
from protocols.checksums import crc16_arc
from protocols.teltonika_session import AVL_SIZES

P = "teltonika"
R = r"data\.records\.\d+\."
YEAR_2000_MS, YEAR_2100_MS = 946_684_800_000, 4_102_444_800_000
GROUPS = {"bytes_1": 1, "bytes_2": 2, "bytes_4": 4, "bytes_8": 8}
CODECS = (0x08, 0x8E, 0x10, 0x0C, 0x0D, 0x0E, 0x0F)


def is_login(piece: Piece) -> bool:
    """Whether it begins as a login does."""
    return piece.data[:2] == b"\x00\x0f"


def is_tcp(piece: Piece) -> bool:
    """Whether it begins as a packet of a TCP session does, and is no answer."""
    return piece.data[:4] == bytes(4) and len(piece.data) >= 12


def is_answer(piece: Piece) -> bool:
    """Whether it has the form of what a server says without a frame."""
    down = piece.capture.direction != "up"
    return down and ((len(piece.data) == 4 and piece.data[:2] == b"\0\0") or piece.data in (b"\0", b"\1"))


def each(captures: Captures, what: str, applies: Callable[[Piece], bool], judge: Callable[[Piece], None], todo: str = "") -> str:
    """Over the pieces that are no bare answers."""
    return captures.each(P, what, lambda piece: not is_answer(piece) and applies(piece), judge, todo)


@proves("TEL-LOGIN-001")
def login_form(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        if len(piece.data) != 17 or not piece.data[2:].isdigit():
            raise piece.broken("00 0f and 15 ASCII digits", piece.data.hex(" "))

    return each(captures, "login", is_login, judge)


@proves("TEL-LOGIN-002")
def check_digit(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        if not luhn_holds(piece.data[2:].decode("ascii")):
            raise piece.broken("a right check digit (Luhn)", piece.data[2:].decode("ascii"))

    return each(captures, "login", of_kind("hello"), judge)


@proves("TEL-LOGIN-003")
def login_identity(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        assert piece.capture.unit is not None
        if piece.data[2:].decode("ascii", "replace") != piece.capture.unit.telematics_unit_id:
            raise piece.broken(piece.capture.unit.telematics_unit_id, piece.data[2:].decode("ascii", "replace"))

    return each(
        captures,
        "login whose unit is known",
        lambda piece: is_login(piece) and piece.capture.unit is not None,
        judge,
        "name the unit: --unit IMEI",
    )


@proves("TEL-FRAME-001")
def preamble(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        if piece.error is not None and piece.error.reason == "bad_sync":
            raise piece.broken("00 00 00 00", piece.data[:4].hex(" "))

    return each(captures, "packet", lambda piece: not is_login(piece), judge)


@proves("TEL-FRAME-002")
def length(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        said, there = int.from_bytes(piece.data[4:8], "big"), len(piece.data) - 12
        if said != there:
            guess = f" ({piece.error.guess})" if piece.error and piece.error.guess else ""
            raise piece.broken(f"{said} bytes of data, as the length says", f"{there}{guess}")

    return each(captures, "packet", is_tcp, judge)


@proves("TEL-FRAME-003")
def codec(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        if piece.data[8] not in CODECS:
            raise piece.broken("codec 08, 8e, 10, 0c, 0d, 0e or 0f", f"{piece.data[8]:02x}")

    return each(captures, "packet", is_tcp, judge)


@proves("TEL-FRAME-004")
def crc(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        expected, found = crc16_arc(piece.data[8:-4]), int.from_bytes(piece.data[-4:], "big")
        if expected != found:
            guess = f" ({piece.error.guess})" if piece.error and piece.error.guess else ""
            raise piece.broken(f"CRC {expected:08x}", f"{found:08x}{guess}")

    return each(captures, "whole packet", _whole, judge)


def _whole(piece: Piece) -> bool:
    return is_tcp(piece) and int.from_bytes(piece.data[4:8], "big") + 12 == len(piece.data)


@proves("TEL-FRAME-005")
def counts(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        if piece.data[9] != piece.data[-5]:
            raise piece.broken(f"{piece.data[9]} twice", f"{piece.data[9]} and {piece.data[-5]}")

    return each(captures, "whole packet", lambda piece: _whole(piece) and sound(piece), judge)


@proves("TEL-FRAME-006")
def not_empty(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        if not piece.data[9]:
            raise piece.broken("a record", "none")

    return each(captures, "AVL packet", lambda piece: is_tcp(piece) and piece.kind == "state", judge)


@proves("TEL-FRAME-007")
def packet_size(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        if len(piece.data) > 1280:
            raise piece.broken("at most 1280 bytes", str(len(piece.data)))

    return each(captures, "AVL packet", of_kind("state"), judge)


@proves("TEL-FRAME-008")
def record_size(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        assert piece.frame is not None
        for report in piece.frame.reports:
            if len(report.record) > 255:
                raise piece.broken("at most 255 bytes a record", str(len(report.record)))

    def fixed(piece: Piece) -> bool:
        return piece.frame is not None and piece.kind == "state" and piece.frame.facts.get("codec") in (0x08, 0x10)

    return each(captures, "packet of Codec 8 or 16", fixed, judge)


@proves("TEL-FRAME-009")
def crc_upper(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        if any(piece.data[-4:-2]):
            raise piece.broken("00 00", piece.data[-4:-2].hex(" "))

    return each(captures, "whole packet", _whole, judge)


error_check("TEL-AVL-001", P, "packet", "a total that is the sum of the groups", "malformed", fields="data.records")
error_check("TEL-AVL-002", P, "packet", "records that end where the length says", "bad_length", fields="data")
field_check("TEL-AVL-003", P, "record", R + "priority", lambda value: value <= 2, "0 to 2", "state")
field_check("TEL-AVL-004", P, "record", R + "longitude", lambda value: abs(value) <= 1_800_000_000, "within 1800000000", "state")
field_check("TEL-AVL-005", P, "record", R + "latitude", lambda value: abs(value) <= 900_000_000, "within 900000000", "state")
field_check("TEL-AVL-006", P, "record", R + "angle", lambda value: value <= 360, "at most 360", "state")
field_check(
    "TEL-AVL-008",
    P,
    "record",
    R + "timestamp",
    lambda value: YEAR_2000_MS <= value < YEAR_2100_MS,
    "Unix ms from 2000 to 2100",
    "state",
)
field_check("TEL-AVL-011", P, "record of Codec 16", R + "generation_type", lambda value: value <= 7, "0 to 7", "state")
field_check("TEL-AVL-017", P, "record", R + "altitude", lambda value: -1000 <= value <= 20_000, "-1000 to 20000", "state")


def records(piece: Piece) -> list[dict[str, object]]:
    """The records of an AVL packet as they were parsed."""
    assert piece.frame is not None
    found: list[dict[str, object]] = piece.frame.facts["data"]["records"]
    return found


def elements(record: dict[str, object]) -> list[tuple[int, int, object]]:
    """The IO elements of a record: id, size of its group (0: variable), value."""
    found = []
    for group in (*GROUPS, "bytes_x"):
        said = record.get(group, [])
        assert isinstance(said, list)
        found += [(each["id"], GROUPS.get(group, 0), each["value"]) for each in said]
    return found


def _record_check(id: str, expected: str, judge: Callable[[dict[str, object]], str]) -> None:
    """`judge` says what is wrong with a record; nothing if it is right."""

    @proves(id)
    def check(captures: Captures) -> str:
        def look(piece: Piece) -> None:
            for record in records(piece):
                if seen := judge(record):
                    raise piece.broken(expected, seen)

        return each(captures, "AVL packet", of_kind("state"), look)

    check.__qualname__ = id.lower().replace("-", "_")


def _moving(record: dict[str, object]) -> str:
    if record["satellites"] == 0 and (record["angle"] or record["speed"]):
        return f"no satellites, angle {record['angle']}, speed {record['speed']}"
    return ""


def _event(record: dict[str, object]) -> str:
    known = {each[0] for each in elements(record)}
    return (
        "" if not record["event_id"] or record["event_id"] in known else f"event {record['event_id']}, elements {sorted(known)}"
    )


def _twice(record: dict[str, object]) -> str:
    ids = [each[0] for each in elements(record)]
    return next((f"id {one} twice" for one in ids if ids.count(one) > 1), "")


def _values(ids: tuple[int, ...], most: int) -> Callable[[dict[str, object]], str]:
    def judge(record: dict[str, object]) -> str:
        wrong = (each for each in elements(record) if each[0] in ids and isinstance(each[2], int) and each[2] > most)
        return next((f"id {each[0]} = {each[2]}" for each in wrong), "")

    return judge


def _sizes(record: dict[str, object]) -> str:
    wrong = (each for each in elements(record) if each[1] and AVL_SIZES.get(each[0], each[1]) != each[1])
    return next((f"id {each[0]} in the group of {each[1]} bytes, not {AVL_SIZES[each[0]]}" for each in wrong), "")


_record_check("TEL-AVL-007", "angle and speed 0 without satellites", _moving)
_record_check("TEL-AVL-009", "an event id of the record", _event)
_record_check("TEL-AVL-010", "each id once", _twice)
_record_check("TEL-AVL-012", "0 or 1", _values((239, 240, 1, 2, 3, 179, 180), 1))
_record_check("TEL-AVL-013", "0 to 5", _values((21,), 5))
_record_check("TEL-AVL-014", "at most 100", _values((113, 89), 100))
_record_check("TEL-AVL-015", "the group of the id's size", _sizes)


@proves("TEL-AVL-016")
def in_order(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        times = [record["timestamp"] for record in records(piece)]
        for before, after in pairwise(times):
            if after < before:  # type: ignore[operator]
                raise piece.broken(f"a time from {before} on", str(after))

    return each(captures, "AVL packet of several records", lambda piece: piece.kind == "state" and len(records(piece)) > 1, judge)


def _is_udp(piece: Piece) -> bool:
    return (
        len(piece.data) > 8
        and piece.data[4] == 1
        and not is_tcp(piece)
        and not is_login(piece)
        and piece.data[:1] != b"\xff"
        and (sound(piece) or piece.data[6:8] == b"\0\x0f")
    )


@proves("TEL-UDP-001")
def udp_length(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        said = int.from_bytes(piece.data[:2], "big")
        if said != len(piece.data) - 2:
            raise piece.broken(f"{said} bytes behind the length", str(len(piece.data) - 2))

    return each(captures, "UDP channel packet", _is_udp, judge, "capture the UDP channel")


@proves("TEL-UDP-002")
def udp_form(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        if piece.data[6:8] != b"\0\x0f" or not piece.data[8:23].isdigit():
            raise piece.broken("01, an AVL packet id, 00 0f and 15 digits", piece.data[4:23].hex(" "))

    return each(captures, "UDP channel packet", _is_udp, judge, "capture the UDP channel")


def _codec_of(piece: Piece) -> int:
    return int(piece.frame.facts.get("codec", 0)) if piece.frame else 0


@proves("TEL-GPRS-001")
def message_type(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        if piece.frame is not None and piece.frame.facts.get("type") not in (5, 6):
            raise piece.broken("05 or 06", str(piece.frame.facts.get("type")))

    return each(captures, "Codec 12 message", lambda piece: _codec_of(piece) == 0x0C, judge)


@proves("TEL-GPRS-002")
def message_size(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        said, there = int.from_bytes(piece.data[11:15], "big"), len(piece.data) - 20
        if piece.data[9] == 1 and said != there:
            raise piece.broken(f"a payload of {said} bytes, as the size says", str(there))

    return each(captures, "Codec 12 or 14 message", lambda piece: _whole(piece) and piece.data[8] in (0x0C, 0x0E), judge)


@proves("TEL-GPRS-003")
def message_imei(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        at = 15 if piece.data[8] == 0x0E else 19
        digits = piece.data[at : at + 8].hex()
        if not digits.isdecimal() or digits[0] != "0":
            raise piece.broken("0 and 15 BCD digits", digits)

    return each(captures, "Codec 14 or 15 message", lambda piece: _whole(piece) and piece.data[8] in (0x0E, 0x0F), judge)


@proves("TEL-GPRS-004")
def message_direction(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        assert piece.frame is not None
        going = {5: "down", 6: "up"}.get(piece.frame.facts.get("type", 0), piece.capture.direction)
        if going != piece.capture.direction:
            raise piece.broken(f"what goes {piece.capture.direction}", f"type {piece.frame.facts['type']:02x}")

    applies: Callable[[Piece], bool] = lambda piece: _codec_of(piece) == 0x0C and bool(piece.capture.direction)  # noqa: E731
    return each(
        captures, "Codec 12 message whose direction is known", applies, judge, "capture with topics: a recording or a pcap"
    )


@proves("TEL-ANSWER-001")
def answer_form(captures: Captures) -> str:
    found = 0
    for piece in captures.pieces(P):
        if piece.capture.direction != "down" or piece.kind in ("command", "response", "result"):
            continue
        if not is_answer(piece):
            raise piece.broken("1 or 4 bytes", piece.data.hex(" "))
        found += 1
    if not found:
        raise NotExecuted("no answer of a server", "capture both directions with topics: a recording or a pcap")
    return f"{found} answers"
