"""Teltonika units: AVL records by Codec 8, 8 Extended and 16, GPRS messages by Codec 12 to 15.

A TCP session (or an MQTT payload, packets back to back) begins with a login; the UDP channel carries the IMEI in every packet.
The server answers a login with one byte and records with their count; a unit sends records again until the count is theirs.
Codec 7 (GH3000) is recognised and refused as unsupported. The layouts are in `protocols.teltonika_layouts`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from protocols import teltonika_explained
from protocols.checksums import crc16_arc
from protocols.codec import NOT_UNDERSTOOD, Acknowledgement, Cut, Frame, Peer, Protocol, ProtocolError, Report, build, parse
from protocols.stream import Framing, cuts
from protocols.teltonika_framing import (
    FRAMING,
    IMEI_DIGITS,
    KEEP_ALIVE,
    LOGIN_LENGTH,
    PAYLOAD_FRAMING,
    PREAMBLE,
    TCP_HEADER_BYTES,
    UDP_HEADER_BYTES,
    check_counts,
    check_crc,
    is_channel_packet,
    length_guess,
    measure_any,
)
from protocols.teltonika_layouts import (
    CAMERA,
    CODEC_7,
    CODEC_8,
    CODEC_8E,
    CODEC_12,
    CODEC_13,
    CODEC_14,
    CODEC_15,
    CODEC_16,
    COMMAND,
    DATA,
    FORWARDED,
    GROUPS,
    LOGIN,
    REFUSED,
    RESPONSE,
    TCP,
    UDP,
    UDP_ANSWER,
    codec_13_layout,
    total,
)
from protocols.trace import Leaf

MESSAGE_KINDS = {COMMAND: "command", RESPONSE: "response", FORWARDED: "message", CAMERA: "camera", REFUSED: "nack"}
"""Frame kinds of GPRS messages by their type byte; types not listed are kept raw as `message`."""

LOGIN_ACCEPTED, LOGIN_REJECTED = b"\x01", b"\x00"

LONGITUDE_LIMIT, LATITUDE_LIMIT = 1_800_000_000, 900_000_000
"""180 and 90 degrees in units of 1e-7 degree: what is further out is no position."""

GUESS_LIMIT_BYTES = 2048
"""Above the vendor's longest AVL packet (1280 bytes): a longer one is not parsed again only to guess its codec."""


class Teltonika(Protocol):
    """The Teltonika wire protocol: logins, AVL records answered by their count, GPRS messages, keep-alives."""

    name: ClassVar[str] = "teltonika"
    acknowledgement: ClassVar[Acknowledgement] = "frame"
    starts: ClassVar[tuple[bytes, ...]] = (PREAMBLE, LOGIN_LENGTH, KEEP_ALIVE)
    framing: ClassVar[Framing] = FRAMING

    def split(self, payload: bytes) -> Iterator[Cut]:
        """Packets back to back: TCP frames, UDP channel packets, keep-alives."""
        return cuts(payload, PAYLOAD_FRAMING)

    def decode(self, data: bytes, peer: Peer | None = None) -> Frame:
        """Checked in the order: length, CRC, codec, structure, counts, identity."""
        if data.startswith(KEEP_ALIVE) and not data.strip(KEEP_ALIVE):
            return Frame("heartbeat", facts={"size": len(data)})
        _check_whole(data)
        if not is_channel_packet(data):
            frame = _tcp_frame(data) if data.startswith(PREAMBLE) else _login(data)
        else:
            frame = _udp_frame(data)
        if peer is not None and frame.unit not in (None, peer.unit):
            raise ProtocolError("identity_mismatch", _identity_offset(data), "imei", expected=peer.unit, found=str(frame.unit))
        return frame

    def encode(self, frame: Frame, key: bytes = b"") -> bytes:
        """By `frame.facts` as decode gives them; `protocols.teltonika_session` makes frames of one's own."""
        match frame.kind:
            case "heartbeat":
                return KEEP_ALIVE * int(frame.facts.get("size", 1))
            case "hello":
                return build(LOGIN, {"imei": _digits(frame.unit)})
        facts = frame.facts
        declaration = DATA.get((facts.get("codec", 0), facts.get("layout", "")))
        if declaration is None:
            raise ProtocolError("malformed", 0, "codec", expected="a codec of this protocol", found=str(facts.get("codec")))
        data = build(declaration, facts.get("data", {}))
        if facts.get("transport") != "udp":
            return _tcp(data)
        length = UDP_HEADER_BYTES - 2 + len(data)
        return build(UDP[facts["codec"], facts.get("layout", "")], {**facts, "length": length, "imei": _digits(frame.unit)})

    def answer(self, frame: Frame, accepted: int) -> bytes | None:
        """A login is accepted by one byte, records by how many of them are held; all else has no answer."""
        match frame.kind:
            case "hello":
                return LOGIN_ACCEPTED
            case "state" if frame.facts.get("transport") == "udp":
                return build(UDP_ANSWER, {**frame.facts, "accepted": accepted})
            case "state":
                return accepted.to_bytes(4, "big")
        return None

    def reject(self, frame: Frame) -> bytes:
        """One byte."""
        return LOGIN_REJECTED

    def dismiss(self, data: bytes, error: ProtocolError) -> bytes | None:
        """The count of records that the packet says it has, where its CRC holds: so the unit lets go of them."""
        if error.reason not in NOT_UNDERSTOOD or not data.startswith(PREAMBLE):
            return None
        try:
            if measure_any(data) != len(data):
                return None
            check_crc(data)
        except ProtocolError:
            return None
        counted = data[TCP_HEADER_BYTES] in (CODEC_7, CODEC_8, CODEC_8E, CODEC_16)
        return data[TCP_HEADER_BYTES + 1].to_bytes(4, "big") if counted else None

    def carry(self, unit: str, envelope: bytes, now: int, key: bytes) -> bytes:
        """A Codec 12 command with the envelope as its binary payload."""
        return _tcp(build(DATA[CODEC_12, ""], {"messages": [{"type": COMMAND, "payload": envelope}]}))

    def read(self, data: bytes) -> None:
        """As what the first bytes say it is."""
        teltonika_explained.read(data)

    def checksum(self, data: bytes) -> Mapping[str, str] | None:
        """The CRC of a packet of a TCP session."""
        return teltonika_explained.checksum(data)

    def meanings(self, leaves: Sequence[Leaf]) -> Iterable[tuple[str, str]]:
        """From the tables beside the layouts."""
        return teltonika_explained.meanings(leaves)


def _tcp(data: bytes) -> bytes:
    return PREAMBLE + len(data).to_bytes(4, "big") + data + crc16_arc(data).to_bytes(4, "big")


# Reading -----------------------------------------------------------------------------------------------------------------


def _check_whole(data: bytes) -> None:
    edited = length_guess(data)
    try:
        size = measure_any(data)
    except ProtocolError as error:
        error.guess = edited.guess if edited else error.guess or _answer_guess(data)
        raise
    if size == len(data):
        return
    if edited:
        raise edited
    if size is None or size > len(data):
        expected = f"{size} bytes" if size else "a whole header"
        answer = _answer_guess(data)
        guess = f"the end was cut off, or it is {answer}" if answer else _gap_guess(data)
        raise ProtocolError("truncated", len(data), expected=expected, found=f"{len(data)} bytes", guess=guess)
    raise ProtocolError("bad_length", size, expected=f"{size} bytes", found=f"{len(data)} bytes", guess="more than one packet")


def _answer_guess(data: bytes) -> str:
    """What a server says to a unit is no packet, and has no start of its own."""
    if data in (LOGIN_ACCEPTED, LOGIN_REJECTED):
        return "the server's answer to a login"
    if len(data) == 4 and data[:3] == bytes(3):
        return f"the server's answer to records: it holds {data[3]}"
    return "the server's answer in the UDP channel" if len(data) == 7 and data[:2] == b"\0\5" else ""


def _gap_guess(data: bytes) -> str:
    """A packet that is too short and ends as whole ones do: with its count once more and a CRC."""
    ends = len(data) > TCP_HEADER_BYTES + 8 and data.startswith(PREAMBLE) and data[-4:-2] == bytes(2) and data[-5] == data[9]
    return "bytes in between are missing: the end looks whole" if ends else ""


def _login(data: bytes) -> Frame:
    imei = parse(LOGIN, data).imei.decode("ascii")
    return Frame("hello", imei, facts={"transport": "tcp", "imei": imei})


def _tcp_frame(data: bytes) -> Frame:
    check_crc(data)
    return _frame(data, TCP, TCP_HEADER_BYTES, len(data) - 4, {"transport": "tcp"})


def _udp_frame(data: bytes) -> Frame:
    return _frame(data, UDP, UDP_HEADER_BYTES, len(data), {"transport": "udp"})


def _frame(data: bytes, declarations: Mapping[tuple[int, str], Any], begin: int, end: int, facts: dict[str, Any]) -> Frame:
    """The frame whose data field, codec id to second count, stands at `begin` to `end` of `data`."""
    codec = data[begin]
    layout = codec_13_layout(data[begin:end]) if codec == CODEC_13 else ""
    if (codec, layout) not in declarations:
        found = "07, the GH3000 codec" if codec == CODEC_7 else f"{codec:02x}"
        raise ProtocolError("unsupported", begin, "data.codec", expected="codec 08, 8e, 10, 0c, 0d, 0e or 0f", found=found)
    said = _parsed(declarations, (codec, layout), data, begin)
    check_counts(data, begin, end)
    facts |= {"codec": codec, "layout": layout}
    unit = None
    if "packet_id" in said:
        unit = said.imei.decode("ascii")
        facts |= {"packet_id": said.packet_id, "avl_packet_id": said.avl_packet_id}
    if "records" in said.data:
        _check_totals(said.data.records, codec)
        reports = tuple(_report(record, data) for record in said.data.records)
        captured_at = reports[-1].captured_at if reports else None
        return Frame("state", unit, captured_at=captured_at, reports=reports, facts=facts | {"data": _plain(said.data)})
    return _message(unit, said.data, facts, begin)


def _parsed(declarations: Mapping[tuple[int, str], Any], key: tuple[int, str], data: bytes, begin: int) -> Any:
    try:
        return parse(declarations[key], data)
    except ProtocolError as error:
        if error.reason not in ("truncated", "bad_length"):
            raise
        wrong = error
    end = len(data) - (4 if data.startswith(PREAMBLE) else 0)
    expected, found = f"records or messages that end at byte {end}", "others: they would end before it, or behind it"
    guess = _codec_guess(declarations, key, data, begin)
    field = wrong.field or "data"
    raise ProtocolError("bad_length", wrong.offset, field, expected=expected, found=found, guess=guess) from wrong


def _codec_guess(declarations: Mapping[tuple[int, str], Any], key: tuple[int, str], data: bytes, begin: int) -> str:
    for codec, layout in declarations if len(data) <= GUESS_LIMIT_BYTES else ():
        try:
            parse(declarations[codec, layout], data[:begin] + bytes([codec]) + data[begin + 1 :])
        except ProtocolError:
            continue
        return f"codec {codec:02x} {layout}".rstrip() + f", not {key[0]:02x}"
    return "a count or a size was edited"


_TOTAL_OFFSETS = {CODEC_8: 25, CODEC_8E: 26, CODEC_16: 27}
"""Where in a record the number of its IO elements stands."""

_IMEI_OFFSETS = {CODEC_14: 7, CODEC_15: 11}
"""Where in the data field the IMEI of the first message stands."""


def _check_totals(records: Sequence[Any], codec: int) -> None:
    for index, record in enumerate(records):
        there = total(record)
        if record.total != there:
            field = f"data.records.{index}.total"
            raise ProtocolError(
                "malformed", record.begin + _TOTAL_OFFSETS[codec], field, expected=str(there), found=str(record.total)
            )


def _report(record: Any, data: bytes) -> Report:
    """What is captured is the record's own bytes: the same in whichever packet they come again."""
    names = ("longitude", "latitude", "altitude", "angle", "satellites", "speed", "priority", "event_id", "generation_type")
    signals = {name: record[name] for name in names if name in record}
    if abs(record.longitude) > LONGITUDE_LIMIT or abs(record.latitude) > LATITUDE_LIMIT:
        del signals["longitude"], signals["latitude"]
    for group in (*GROUPS, "bytes_x"):
        signals |= {f"io_{element.id}": element.value for element in record.get(group, ())}
    return Report(data[record.begin : record.end], record.timestamp, signals)


def _message(unit: str | None, said: Any, facts: dict[str, Any], begin: int) -> Frame:
    kind, captured_at = "message", None
    if said.messages:
        first = said.messages[0]
        kind = MESSAGE_KINDS.get(first.type, "message")
        facts |= {"type": first.type, "payload": first.payload}
        if "imei" in first:
            facts["imei"] = _bcd_digits(first.imei, begin + _IMEI_OFFSETS[facts["codec"]])
            if kind != "nack":  # a nack names who was meant, not who speaks
                unit = unit or facts["imei"]
        if "timestamp" in first:
            captured_at = first.timestamp * (1 if facts["layout"].startswith("milli") else 1000)
        if first.payload.isascii() and first.payload.decode("ascii").rstrip().isprintable():
            facts["text"] = first.payload.decode("ascii")
        if _is_envelope(first.payload):
            facts["envelope"] = first.payload
            kind = "result" if first.type == RESPONSE else kind
    return Frame(kind, unit, captured_at=captured_at, facts=facts | {"data": _plain(said)})


def _is_envelope(payload: bytes) -> bool:
    """Whether a binary payload has the form of a command envelope (protocols.envelope), version 1."""
    return len(payload) >= 36 and payload[0] == 1 and len(payload) == 36 + int.from_bytes(payload[18:20], "big")


def _bcd_digits(imei: bytes, at: int) -> str:
    digits = imei.hex()
    if not digits.isdecimal() or digits[0] != "0":
        raise ProtocolError("malformed", at, "data.messages.0.imei", expected="0 and 15 BCD digits", found=digits)
    return digits[1:]


def _digits(imei: str | None) -> bytes:
    if imei is None or len(imei) != IMEI_DIGITS or not (imei.isascii() and imei.isdecimal()):
        raise ProtocolError("malformed", 0, "imei", expected="15 digits", found=str(imei))
    return imei.encode("ascii")


def _identity_offset(data: bytes) -> int:
    if data.startswith(PREAMBLE):
        return TCP_HEADER_BYTES + _IMEI_OFFSETS[data[TCP_HEADER_BYTES]]
    return 8 if is_channel_packet(data) else 2


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items() if name not in ("_io", "begin", "end")}
    return [_plain(item) for item in value] if isinstance(value, list) else value


PROTOCOL = Teltonika()
