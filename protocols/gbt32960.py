"""GB/T 32960.3, the Chinese standard for electric vehicles: logins, reports, answers, and commands to the unit.

2016 whole, 2025 as far as open implementations agree. The declarations are in gbt32960_layouts; what reports say, in
gbt32960_signals. A unit answers for its VIN in every header. Encrypted data units are recognised and not opened.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, ClassVar

from protocols import gbt32960_explained, gbt32960_meanings
from protocols.checksums import bcc
from protocols.codec import NOT_UNDERSTOOD, Acknowledgement, Cut, Frame, Peer, Protocol, ProtocolError, Report, build, parse
from protocols.gbt32960_framing import DATA_UNIT_LIMIT_BYTES, EDITIONS, FRAME_LIMIT_BYTES, FRAMING, check_whole
from protocols.gbt32960_layouts import (
    ANSWERS,
    COMMANDS,
    EMPTY,
    ENCRYPTED,
    HEADER,
    HEADER_SIZE_BYTES,
    LOGIN_2016,
    LOGIN_2025,
    REPORT_2016,
    REPORT_2025,
    TIME,
    TIMED,
    UNTIMED_2016,
    VIN_SIZE_BYTES,
)
from protocols.gbt32960_signals import signals
from protocols.stream import Framing, cuts
from protocols.trace import Leaf

STARTS = {edition: start for start, edition in EDITIONS.items()}

LOGIN, REALTIME, REISSUE, LOGOUT, PLATFORM_LOGIN, PLATFORM_LOGOUT, HEARTBEAT, TIME_SYNC = range(0x01, 0x09)
ACTIVATION, ACTIVATION_RESULT, KEY_EXCHANGE = range(0x09, 0x0C)
QUERY, SET, CONTROL = range(0x80, 0x83)
REPORTS = (REALTIME, REISSUE)

KINDS = {
    LOGIN: "hello",
    REALTIME: "state",
    REISSUE: "state",
    LOGOUT: "logout",
    PLATFORM_LOGIN: "platform_login",
    PLATFORM_LOGOUT: "platform_logout",
    HEARTBEAT: "heartbeat",
    TIME_SYNC: "time_sync",
    ACTIVATION: "activation",
    ACTIVATION_RESULT: "activation_result",
    KEY_EXCHANGE: "key_exchange",
    QUERY: "query",
    SET: "set",
    CONTROL: "command",
}
"""Frame kinds by command; the user's own commands (C0 to FE) are `custom`, whatever answers a command is an `answer`."""

COMMAND, OK, ERROR, DUPLICATE_VIN, UNKNOWN_VIN = 0xFE, 0x01, 0x02, 0x03, 0x04
FLAGS = {2016: (COMMAND, OK, ERROR, DUPLICATE_VIN), 2025: (COMMAND, *range(0x01, 0x08))}
"""2025 adds 4 unknown VIN, 5 bad signature, 6 bad structure, 7 bad decryption."""

PLAIN = 0x01
ENCRYPTIONS = {2016: (0x01, 0x02, 0x03, 0xFE, 0xFF), 2025: (0x01, 0x02, 0x03, 0x04, 0x05, 0xFE, 0xFF)}
CIPHERS = {0x02: "RSA", 0x03: "AES-128", 0x04: "SM2", 0x05: "SM4", 0xFE: "abnormal", 0xFF: "invalid"}

ENVELOPE_CONTROL = 0x80
"""The control command that carries a command envelope (protocols.envelope)."""

BEIJING = timezone(timedelta(hours=8))


class Gbt32960(Protocol):
    """The wire protocol of GB/T 32960.3-2016 and -2025: every command of a unit is answered with its own time."""

    name: ClassVar[str] = "gbt32960"
    acknowledgement: ClassVar[Acknowledgement] = "frame"
    starts: ClassVar[tuple[bytes, ...]] = tuple(EDITIONS)
    framing: ClassVar[Framing] = FRAMING

    def split(self, payload: bytes) -> Iterator[Cut]:
        """The frames back to back; after a broken one, the next whose check character is right."""
        return cuts(payload, FRAMING, FRAME_LIMIT_BYTES)

    def decode(self, data: bytes, peer: Peer | None = None) -> Frame:
        """Checked in the order: start, length, check character, header, identity, encryption, data unit."""
        check_whole(data)
        head = parse(HEADER, data[:HEADER_SIZE_BYTES])
        edition = EDITIONS[head.start]
        _check_header(head, edition)
        unit = _unit(head.vin)
        if peer is not None and (unit or "") != peer.unit:
            raise ProtocolError("identity_mismatch", 4, "vin", expected=peer.unit, found=str(unit))
        facts: dict[str, Any] = {
            "edition": edition,
            "command": head.command,
            "flag": head.flag,
            "encryption": head.encryption,
        }
        content = data[HEADER_SIZE_BYTES:-1]
        if head.encryption != PLAIN and content:
            return _closed(head, unit, facts, content)
        body = _body(edition, head.command, head.flag, content)
        return _frame(unit, facts, body, content)

    def encode(self, frame: Frame, key: bytes = b"") -> bytes:
        """By `facts` as decode gives them: `command`, `flag` and `body`; edition 2016 and no encryption if they do not say."""
        facts = frame.facts
        edition, flag = facts.get("edition", 2016), facts.get("flag", COMMAND)
        command, body = facts.get("command"), facts.get("body", {})
        declaration = ENCRYPTED if "encrypted" in body else _declaration(edition, command, flag, body)
        if edition not in STARTS or declaration is None:
            raise ProtocolError("malformed", 2, "command", expected="a command of this protocol", found=str(command))
        content = build(declaration, body)
        if len(content) > DATA_UNIT_LIMIT_BYTES:
            expected = f"at most {DATA_UNIT_LIMIT_BYTES} bytes"
            raise ProtocolError("oversized", 22, "length", expected=expected, found=f"{len(content)} bytes")
        head = {
            "start": STARTS[edition],
            "command": command,
            "flag": flag,
            "vin": vin(frame.unit or ""),
            "encryption": facts.get("encryption", PLAIN),
            "length": len(content),
        }
        data = build(HEADER, head) + content
        return data + bytes([bcc(data[2:])])

    def answer(self, frame: Frame, accepted: int) -> bytes | None:
        """What a unit began is answered with its time and nothing else (6.3.2): 01, or 02 for a report that is not held.

        A time synchronisation is answered by `synchronise`. What could not be opened has no time that could be given back.
        """
        facts, body = frame.facts, frame.facts.get("body", {})
        if facts.get("flag") != COMMAND or not LOGIN <= facts.get("command", 0) < TIME_SYNC or "encrypted" in body:
            return None
        said = {"time": body["time"]} if "time" in body else {}
        flag = OK if accepted == len(frame.reports) else ERROR
        return self.encode(Frame("answer", frame.unit, facts={**facts, "flag": flag, "encryption": PLAIN, "body": said}))

    def reject(self, frame: Frame) -> bytes | None:
        """Flag 02 in 2016; 2025 has one of its own for a VIN that nobody knows."""
        flag = UNKNOWN_VIN if frame.facts.get("edition") == 2025 else ERROR
        body = {name: value for name, value in frame.facts.get("body", {}).items() if name == "time"}
        facts = {**frame.facts, "flag": flag, "encryption": PLAIN, "body": body}
        return self.encode(Frame("answer", frame.unit, facts=facts))

    def dismiss(self, data: bytes, error: ProtocolError) -> bytes | None:
        """Flag 02 with the frame's time, as annex B asks for a report that is wrong; without one where it is encrypted."""
        if error.reason not in NOT_UNDERSTOOD:
            return None
        try:
            check_whole(data)
            head = parse(HEADER, data[:HEADER_SIZE_BYTES])
            if head.flag != COMMAND or not LOGIN <= head.command < HEARTBEAT:
                return None
            content = data[HEADER_SIZE_BYTES : HEADER_SIZE_BYTES + TIME.sizeof()]
            body = _read(TIMED, content) if head.encryption == PLAIN else {}
            facts = {"edition": EDITIONS[head.start], "command": head.command, "flag": ERROR, "body": body}
            return self.encode(Frame("answer", _unit(head.vin), facts=facts))
        except ProtocolError:
            return None

    def synchronise(self, unit: str, now: int, key: bytes) -> bytes:
        """The answer to a time synchronisation (2016). `now` is Unix time in milliseconds."""
        facts = {"command": TIME_SYNC, "flag": OK, "body": {"time": time_fields(now)}}
        return self.encode(Frame("answer", unit, captured_at=now, facts=facts))

    def carry(self, unit: str, envelope: bytes, now: int, key: bytes) -> bytes:
        """A control command (2016) of the user's own id 80, with the envelope as its parameters."""
        body = {"time": time_fields(now), "control": ENVELOPE_CONTROL, "parameters": envelope}
        return self.encode(Frame("command", unit, captured_at=now, facts={"command": CONTROL, "flag": COMMAND, "body": body}))

    def read(self, data: bytes) -> None:
        """As what the header says it is."""
        gbt32960_explained.read(data)

    def checksum(self, data: bytes) -> Mapping[str, str] | None:
        """The block check character at the end."""
        return gbt32960_explained.checksum(data)

    def meanings(self, leaves: Sequence[Leaf]) -> Iterable[tuple[str, str]]:
        """From the tables of commands, information types and fields."""
        return gbt32960_meanings.meanings(leaves)


# Time and identity ------------------------------------------------------------------------------------------------------


def time_fields(at: int) -> dict[str, int]:
    """Unix time in milliseconds as the standard's time: whole seconds, Beijing time, years from 2000 to 2099."""
    try:
        time = datetime.fromtimestamp(at // 1000, BEIJING)
    except (ValueError, OverflowError, OSError) as error:
        raise ProtocolError("malformed", 0, "time", found=str(at)) from error
    if not 2000 <= time.year <= 2099:
        raise ProtocolError("malformed", 0, "time", expected="a year from 2000 to 2099", found=str(time.year))
    fields = (time.year - 2000, time.month, time.day, time.hour, time.minute, time.second)
    return dict(zip((field.name for field in TIME.subcons), fields, strict=True))


def unix_ms(time: Mapping[str, int]) -> int:
    """The standard's time as Unix time in milliseconds. Raises ProtocolError if it is none (as most BCD times are not)."""
    year, month, day, hour, minute, second = (time[field.name] for field in TIME.subcons)
    try:
        if year > 99:
            raise ValueError("a year after 2099")
        return int(datetime(2000 + year, month, day, hour, minute, second, tzinfo=BEIJING).timestamp()) * 1000
    except ValueError as error:
        found = bytes((year, month, day, hour, minute, second)).hex()
        guess = "a time in BCD; the standard's is plain binary" if found.isdecimal() else ""
        expected = "yy mm dd hh mm ss, plain binary"
        raise ProtocolError("malformed", 0, "time", expected=expected, found=found, guess=guess) from error


def vin(unit: str) -> bytes:
    """A unit's id as the header carries it."""
    said = unit.encode("ascii", "replace")
    if len(said) > VIN_SIZE_BYTES or said.decode("ascii") != unit or (unit and not unit.isprintable()):
        raise ProtocolError("malformed", 4, "vin", expected=f"at most {VIN_SIZE_BYTES} ASCII characters", found=unit)
    return said.ljust(VIN_SIZE_BYTES, b"\0")


def _unit(raw: bytes) -> str | None:
    said = raw.rstrip(b"\0")
    for at, byte in enumerate(said):
        if not 0x20 <= byte < 0x7F:
            raise ProtocolError("malformed", 4 + at, "vin", expected="ASCII, padded with 00", found=raw.hex())
    return said.decode("ascii") or None


# Reading ---------------------------------------------------------------------------------------------------------------


def _check_header(head: Any, edition: int) -> None:
    if head.command not in COMMANDS[edition]:
        raise ProtocolError("unsupported", 2, "command", expected=f"a command of {edition}", found=f"{head.command:02x}")
    if head.flag not in FLAGS[edition]:
        expected = f"fe, or 01 to {FLAGS[edition][-1]:02x}"
        raise ProtocolError("malformed", 3, "flag", expected=expected, found=f"{head.flag:02x}")
    if head.encryption not in ENCRYPTIONS[edition]:
        raise ProtocolError("unsupported", 21, "encryption", expected="01, no encryption", found=f"{head.encryption:02x}")


def _closed(head: Any, unit: str | None, facts: dict[str, Any], content: bytes) -> Frame:
    """A frame whose data unit is encrypted: what its header says, if that is enough."""
    if head.command in (*REPORTS, CONTROL, QUERY) and (head.command in REPORTS or head.flag != COMMAND):
        found = f"{head.encryption:02x}, {CIPHERS[head.encryption]}"
        guess = "" if head.encryption >= 0xFE else "the data unit is encrypted, and its key is not here"
        raise ProtocolError("unsupported", 21, "encryption", expected="01, no encryption", found=found, guess=guess)
    return Frame(_kind(head.command, head.flag), unit, facts=facts | {"body": {"encrypted": content}})


def _kind(command: int, flag: int) -> str:
    return KINDS.get(command, "custom") if flag == COMMAND else "answer"


def _declaration(edition: int, command: Any, flag: int, body: Mapping[str, Any]) -> Any:
    """What declares the data unit of a frame that says `body`."""
    if edition not in COMMANDS or flag == COMMAND:
        return COMMANDS.get(edition, {}).get(command)
    if command not in COMMANDS[edition] or body.keys() <= {"time"}:
        return (TIMED if body else EMPTY) if command in COMMANDS[edition] else None
    return UNTIMED_2016 if "time" not in body and command in REPORTS else ANSWERS[edition][command]


def _body(edition: int, command: int, flag: int, content: bytes) -> dict[str, Any]:
    if flag == COMMAND:
        return _read(COMMANDS[edition][command], content)
    if not content:
        return {}
    if len(content) == TIME.sizeof():
        return _read(TIMED, content)
    try:
        return _read(ANSWERS[edition][command], content)
    except ProtocolError:
        if command not in REPORTS or edition != 2016:
            raise
        try:
            return _read(UNTIMED_2016, content)  # some platforms give back the items without their time
        except ProtocolError:
            pass
        raise


def _read(declaration: Any, content: bytes) -> dict[str, Any]:
    try:
        body: dict[str, Any] = _plain(parse(declaration, content))
        if "time" in body:
            unix_ms(body["time"])
    except ProtocolError as error:
        if error.reason not in ("truncated", "bad_length"):
            error.guess = _edition_guess(declaration, content) or error.guess
            raise error.moved(HEADER_SIZE_BYTES) from error
        at, field, guess = HEADER_SIZE_BYTES + error.offset, error.field or "body", _content_guess(declaration, content)
        expected, found = "fields that end where the data unit does", f"a data unit of {len(content)} bytes"
        raise ProtocolError("bad_length", at, field, expected=expected, found=found, guess=guess) from error
    return body


def _frame(unit: str | None, facts: dict[str, Any], body: dict[str, Any], content: bytes) -> Frame:
    command, flag, edition = facts["command"], facts["flag"], facts["edition"]
    kind = _kind(command, flag)
    captured_at = unix_ms(body["time"]) if "time" in body else None
    reports: tuple[Report, ...] = ()
    if kind == "state":
        said = signals(body["items"], edition)
        reports = (Report(_record(body, content), captured_at, said),)
        facts["reissued"] = command == REISSUE
    elif kind == "hello":
        facts["sequence"], facts["iccid"] = body["sequence"], _text(body["iccid"])
    elif kind == "time_sync":
        facts["clock_unsynchronised"] = True
    elif command == CONTROL and body.get("control") == ENVELOPE_CONTROL and _is_envelope(body["parameters"]):
        facts["envelope"] = body["parameters"]
        if flag != COMMAND and body["parameters"][3] == 2:
            kind = "result"
    return Frame(kind, unit, captured_at=captured_at, reports=reports, facts=facts | {"body": body})


def _record(body: Mapping[str, Any], content: bytes) -> bytes:
    """Time and items: the same in a realtime frame and in a reissued one, and whoever signed it."""
    signature = body.get("signature")
    return content if signature is None else content[: -(6 + len(signature["r"]) + len(signature["s"]))]


def _text(raw: bytes) -> str | None:
    said = raw.rstrip(b"\0")
    return said.decode("ascii") if said.isascii() and said.decode("ascii").isprintable() and said else None


def _is_envelope(data: bytes) -> bool:
    """Whether parameters have the form of a command envelope, version 1."""
    return len(data) >= 36 and data[0] == 1 and len(data) == 36 + int.from_bytes(data[18:20], "big")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items() if name not in ("_io", "lengths")}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _content_guess(declaration: Any, content: bytes) -> str:
    if content[8:9] == b"\x14" and declaration in (LOGIN_2016, LOGIN_2025):
        return "a length byte before the ICCID, which the standard does not have"
    return _edition_guess(declaration, content)


def _edition_guess(declaration: Any, content: bytes) -> str:
    """Whether a data unit that cannot be read is one of the other edition."""
    other, name = OTHER_EDITION.get(declaration, (None, ""))
    try:
        if other is not None:
            parse(other, content)
            return f"a data unit of edition {name} behind the start of the other"
    except ProtocolError:
        pass
    return ""


OTHER_EDITION = {
    LOGIN_2016: (LOGIN_2025, "2025"),
    REPORT_2016: (REPORT_2025, "2025"),
    LOGIN_2025: (LOGIN_2016, "2016"),
    REPORT_2025: (REPORT_2016, "2016"),
}


PROTOCOL = Gbt32960()
