"""The checks of captured GB/T 32960 frames."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from bench.conformance.captures import Captures, Piece
from bench.conformance.checks.frames import field_check, of_kind
from bench.conformance.requirement import NotExecuted, proves
from protocols.checksums import bcc

P = "gbt32960"
BODY = r"body\.items\.\d+\.body\."
LOGIN, REALTIME, REISSUE, LOGOUT = 1, 2, 3, 4
DAY_S = 86_400
VIN_LETTERS = frozenset("0123456789ABCDEFGHJKLMNPRSTUVWXYZ")


def begun(piece: Piece) -> bool:
    """Whether there is a header to look at."""
    return piece.data[:2] in (b"##", b"$$") and len(piece.data) >= 25


def whole(piece: Piece) -> bool:
    """Whether the frame ends where its length says."""
    return begun(piece) and len(piece.data) == 25 + int.from_bytes(piece.data[22:24], "big")


def in_form(piece: Piece) -> bool:
    """Whether header and check character hold."""
    return whole(piece) and bcc(piece.data[2:-1]) == piece.data[-1]


@proves("GBT-FRAME-001")
def start(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        if piece.data[:2] not in (b"##", b"$$"):
            raise piece.broken("23 23 or 24 24", piece.data[:2].hex(" "))

    return captures.each(P, "frame", lambda piece: True, judge)


def _header(id: str, expected: str, at: int, holds: Callable[[bytes], bool], size: int = 1) -> None:
    @proves(id)
    def check(captures: Captures) -> str:
        def judge(piece: Piece) -> None:
            if not holds(piece.data):
                raise piece.broken(expected, piece.data[at : at + size].hex(" "))

        return captures.each(P, "frame", in_form, judge)

    check.__qualname__ = id.lower().replace("-", "_")


def _is_2016(data: bytes) -> bool:
    return data[:2] == b"##"


def _command(data: bytes) -> bool:
    known = {*range(1, 9), 0x80, 0x81, 0x82, *range(0xC0, 0xFF)} | (set() if _is_2016(data) else {9, 10, 11})
    return data[2] in known


_header("GBT-FRAME-002", "a command of the edition", 2, _command)
_header(
    "GBT-FRAME-003", "fe, or 01 to 03 (2025: 07)", 3, lambda data: data[3] == 0xFE or 1 <= data[3] <= (3 if _is_2016(data) else 7)
)
_header(
    "GBT-FRAME-004", "ASCII padded with 00", 4, lambda data: all(0x20 <= byte < 0x7F for byte in data[4:21].rstrip(b"\0")), 17
)
_header(
    "GBT-FRAME-006",
    "01, 02, 03, fe or ff",
    21,
    lambda data: data[21] in ({1, 2, 3, 0xFE, 0xFF} | (set() if _is_2016(data) else {4, 5})),
)


@proves("GBT-FRAME-005")
def identity(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        assert piece.capture.unit is not None
        found = piece.data[4:21].rstrip(b"\0").decode("ascii", "replace")
        if found != piece.capture.unit.telematics_unit_id:
            raise piece.broken(piece.capture.unit.telematics_unit_id, found)

    return captures.each(
        P,
        "frame whose unit is known",
        lambda piece: in_form(piece) and piece.capture.unit is not None,
        judge,
        "name the unit: --brand GBT32960 --unit VIN",
    )


@proves("GBT-FRAME-007")
def length(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        said = int.from_bytes(piece.data[22:24], "big")
        if said != len(piece.data) - 25 or said > 65531:
            guess = f" ({piece.error.guess})" if piece.error and piece.error.guess else ""
            raise piece.broken(f"a data unit of {said} bytes, as the length says", f"{len(piece.data) - 25}{guess}")

    return captures.each(P, "frame", begun, judge)


@proves("GBT-FRAME-008")
def check_character(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        if (expected := bcc(piece.data[2:-1])) != piece.data[-1]:
            guess = f" ({piece.error.guess})" if piece.error and piece.error.guess else ""
            raise piece.broken(f"{expected:02x}", f"{piece.data[-1]:02x}{guess}")

    return captures.each(P, "whole frame", whole, judge)


@proves("GBT-FRAME-009")
def is_a_vin(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        said = piece.data[4:21].rstrip(b"\0").decode("ascii", "replace")
        if len(said) != 17 or not set(said) <= VIN_LETTERS:
            raise piece.broken("17 letters and digits without I, O, Q", said)

    return captures.each(P, "frame", in_form, judge)


@proves("GBT-FRAME-010")
def empty_data_unit(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        if len(piece.data) != 25:
            raise piece.broken("no data unit", f"{len(piece.data) - 25} bytes")

    return captures.each(
        P,
        "heartbeat or time synchronisation",
        lambda piece: in_form(piece) and piece.data[2] in (7, 8) and piece.data[3] == 0xFE,
        judge,
    )


def timed(piece: Piece) -> bool:
    """Whether the frame has to have a time."""
    return (
        in_form(piece) and len(piece.data) >= 31 and piece.data[2] in (1, 2, 3, 4, 5, 6, 0x80, 0x81, 0x82) and piece.data[21] == 1
    )


@proves("GBT-TIME-001")
def binary_time(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        if piece.error is not None and piece.error.field.endswith("time"):
            raise piece.broken("yy mm dd hh mm ss, plain binary", f"{piece.data[24:30].hex(' ')} {piece.error.guess}")
        year, month, day, hour, minute, second = piece.data[24:30]
        if year > 99 or not 1 <= month <= 12 or not 1 <= day <= 31 or hour > 23 or minute > 59 or second > 59:
            raise piece.broken("yy mm dd hh mm ss, plain binary", piece.data[24:30].hex(" "))

    return captures.each(P, "frame with a time", timed, judge)


@proves("GBT-TIME-002")
def time_of_capture(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        assert piece.frame is not None
        off = (piece.frame.captured_at or 0) / 1000 - piece.capture.at
        if abs(off) > DAY_S:
            raise piece.broken("a time within a day of the capture", f"{off:+.0f} s")

    def applies(piece: Piece) -> bool:
        return piece.data[2:3] == b"\x02" and piece.kind == "state" and piece.capture.at > 0

    return captures.each(
        P, "realtime report whose capture time is known", applies, judge, "capture with times: a recording or a pcap"
    )


field_check("GBT-LOGIN-001", P, "login", r"body\.sequence", lambda value: 1 <= value <= 65531, "1 to 65531", "hello")


@proves("GBT-LOGIN-002")
def iccid(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        said = piece.data[32:52].rstrip(b"\0 ")
        if not said.isalnum() or not said.isascii() or (piece.error is not None and "ICCID" in piece.error.guess):
            raise piece.broken("20 ASCII letters and digits", piece.data[32:52].hex(" "))

    return captures.each(
        P,
        "login",
        lambda piece: (
            in_form(piece) and piece.data[2] == LOGIN and piece.data[3] == 0xFE and piece.data[21] == 1 and len(piece.data) >= 53
        ),
        judge,
    )


@proves("GBT-LOGIN-003")
def login_codes(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        if piece.error is not None:
            raise piece.broken("as many codes as the counts say", f"{piece.error.reason} at byte {piece.error.offset}")

    return captures.each(
        P,
        "login",
        lambda piece: in_form(piece) and piece.data[2] == LOGIN and piece.data[3] == 0xFE and piece.data[21] == 1,
        judge,
    )


@proves("GBT-LOGIN-004")
def logout_sequence(captures: Captures) -> str:
    logins: dict[bytes, set[int]] = {}
    found = 0
    for piece in captures.pieces(P):
        if "body.sequence" not in piece.fields:
            continue
        if piece.kind == "hello":
            logins.setdefault(piece.data[4:21], set()).add(piece.fields["body.sequence"])
        elif piece.kind == "logout" and piece.data[4:21] in logins:
            found += 1
            if piece.fields["body.sequence"] not in logins[piece.data[4:21]]:
                raise piece.broken(f"one of {sorted(logins[piece.data[4:21]])}", f"sequence {piece.fields['body.sequence']}")
    if not found:
        raise NotExecuted("no logout behind a login of the same unit", "capture a session to its end")
    return f"{found} logouts"


def _is_report(piece: Piece) -> bool:
    return in_form(piece) and piece.data[2] in (REALTIME, REISSUE) and piece.data[3] == 0xFE and piece.data[21] == 1


@proves("GBT-REPORT-001")
def items_end(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        if piece.error is not None and piece.error.reason == "bad_length":
            raise piece.broken("items that end where the data unit ends", f"{piece.error.field} at byte {piece.error.offset}")

    return captures.each(P, "report", _is_report, judge)


@proves("GBT-REPORT-002")
def types_known(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        if piece.error is not None and piece.error.reason == "unsupported":
            raise piece.broken("a known information type", f"{piece.error.found} at byte {piece.error.offset}")

    return captures.each(P, "report", _is_report, judge)


def items(piece: Piece) -> list[dict[str, Any]]:
    """The items of a report as they were parsed."""
    assert piece.frame is not None
    found: list[dict[str, Any]] = piece.frame.facts["body"]["items"]
    return found


@proves("GBT-REPORT-003")
def once(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        often = Counter(item["type"] for item in items(piece))
        several = (8, 9) if _is_2016(piece.data) else (7, 8)
        for kind, times in often.items():
            if kind < 0x80 and kind not in several and times > 1:
                raise piece.broken(f"type {kind:02x} once", f"{times} times")

    return captures.each(P, "report", of_kind("state"), judge)


@proves("GBT-REPORT-004")
def vehicle_and_position(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        kinds = {item["type"] for item in items(piece)}
        if not {1, 5} <= kinds:
            raise piece.broken("types 01 and 05", ", ".join(f"{kind:02x}" for kind in sorted(kinds)) or "none")

    return captures.each(P, "realtime report", lambda piece: piece.kind == "state" and piece.data[2] == REALTIME, judge)


@proves("GBT-REPORT-005")
def often_enough(captures: Captures) -> str:
    last: dict[bytes, float] = {}
    found = 0
    for piece in captures.pieces(P):
        unit = piece.data[4:21]
        if piece.kind in ("hello", "logout"):
            last.pop(unit, None)
        elif piece.kind == "state" and piece.data[2] == REALTIME and piece.capture.at > 0 and piece.frame is not None:
            now = (piece.frame.captured_at or 0) / 1000
            if unit in last:
                found += 1
                if now - last[unit] > 31:
                    raise piece.broken("at most 30 s", f"{now - last[unit]:.0f} s between two reports")
            last[unit] = now
    if not found:
        raise NotExecuted("no two realtime reports in a session", "capture more of one session, with times")
    return f"{found} intervals"


def _value(id: str, what: str, name: str, holds: Callable[[int], bool], expected: str, silent: int) -> None:
    """A numeric field of the standard: `silent` is its FE.. value (FF.. is one more)."""
    field_check(
        id,
        P,
        what,
        BODY + name,
        lambda value: value in (silent, silent + 1) or holds(value),
        f"{expected}, fe.. or ff..",
        "state",
    )


_value("GBT-VEHICLE-001", "vehicle data", "vehicle_state", lambda value: 1 <= value <= 3, "1 to 3", 0xFE)
_value("GBT-VEHICLE-002", "vehicle data", "charge_state", lambda value: 1 <= value <= 4, "1 to 4", 0xFE)
_value("GBT-VEHICLE-003", "vehicle data", "run_mode", lambda value: 1 <= value <= 3, "1 to 3", 0xFE)
_value("GBT-VEHICLE-004", "vehicle data", "speed", lambda value: value <= 2200, "0 to 2200", 0xFFFE)
_value("GBT-VEHICLE-005", "vehicle data", "odometer", lambda value: value <= 9_999_999, "0 to 9999999", 0xFFFFFFFE)
_value("GBT-VEHICLE-006", "vehicle data", "total_voltage", lambda value: value <= 10_000, "0 to 10000", 0xFFFE)
_value("GBT-VEHICLE-008", "vehicle data", "soc", lambda value: value <= 100, "0 to 100", 0xFE)
_value("GBT-VEHICLE-009", "vehicle data", "dcdc_state", lambda value: value in (1, 2), "1 or 2", 0xFE)
_value("GBT-VEHICLE-011", "vehicle data", "accelerator", lambda value: value <= 100, "0 to 100", 0xFE)
_value("GBT-MOTOR-001", "motor data", r"motors\.\d+\.state", lambda value: 1 <= value <= 4, "1 to 4", 0xFE)
_value("GBT-ALARM-001", "alarm data", "alarm_level", lambda value: value <= 3, "0 to 3", 0xFE)
field_check("GBT-POSITION-001", P, "position", BODY + "position_status", lambda value: value < 8, "00 to 07", "state")
field_check(
    "GBT-CONTROL-001",
    P,
    "control command",
    r"body\.control",
    lambda value: 1 <= value <= 7 or 0x80 <= value <= 0xFE,
    "01 to 07, 80 to fe",
)


def _in_edition(id: str, what: str, name: str, edition: bytes, holds: Callable[[int], bool], expected: str) -> None:
    @proves(id)
    def check(captures: Captures) -> str:
        def judge(piece: Piece) -> None:
            for field, value in piece.named(BODY + name):
                if not holds(value):
                    raise piece.broken(expected, f"{field} = {value}")

        def applies(piece: Piece) -> bool:
            return piece.kind == "state" and piece.data[:2] == edition and any(True for _ in piece.named(BODY + name))

        return captures.each(P, what, applies, judge)

    check.__qualname__ = id.lower().replace("-", "_")


_in_edition(
    "GBT-VEHICLE-007",
    "vehicle data of 2016",
    "total_current",
    b"##",
    lambda value: value <= 20_000 or value >= 0xFFFE,
    "0 to 20000",
)
_in_edition(
    "GBT-VEHICLE-010", "vehicle data of 2016", "gear", b"##", lambda value: value < 0x40 or value >= 0xFE, "bits 7 and 6 clear"
)
_in_edition("GBT-ALARM-002", "alarm data of 2016", "alarm_flags", b"##", lambda value: value < 1 << 19, "bits 0 to 18")


@proves("GBT-MOTOR-002")
def motor_index(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        found = [motor["index"] for item in items(piece) if item["type"] == 2 for motor in item["body"]["motors"]]
        if len(found) != len(set(found)) or not all(1 <= index <= 253 for index in found):
            raise piece.broken("each index once, 1 to 253", str(found))

    return captures.each(
        P, "motor data", lambda piece: piece.kind == "state" and any(item["type"] == 2 for item in items(piece)), judge
    )


@proves("GBT-POSITION-002")
def on_earth(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        for item in items(piece):
            if item["type"] != 5 or item["body"]["position_status"] & 1:
                continue
            for axis, most in (("longitude", 180_000_000), ("latitude", 90_000_000)):
                if item["body"][axis] > most:
                    raise piece.broken(f"{axis} at most {most}", str(item["body"][axis]))

    def valid(piece: Piece) -> bool:
        return piece.kind == "state" and any(
            item["type"] == 5 and not item["body"]["position_status"] & 1 for item in items(piece)
        )

    return captures.each(P, "valid position", valid, judge)


@proves("GBT-CELLS-001")
def cells(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        for item in items(piece):
            for battery in item["body"].get("batteries", ()) if item["type"] == 8 else ():
                if len(battery["cell_voltages"]) > 200:
                    raise piece.broken("at most 200 cell voltages", str(len(battery["cell_voltages"])))

    return captures.each(
        P,
        "cell voltages of 2016",
        lambda piece: piece.kind == "state" and _is_2016(piece.data) and any(item["type"] == 8 for item in items(piece)),
        judge,
    )


@proves("GBT-EXTREME-001")
def extremes(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        for item in items(piece):
            body = item["body"]
            high, low = body.get("highest_cell_voltage", 0xFFFF), body.get("lowest_cell_voltage", 0xFFFF)
            if high < 0xFFFE and low < 0xFFFE and high < low:
                raise piece.broken(f"a highest cell voltage of at least {low}", str(high))

    def says(piece: Piece) -> bool:
        return piece.kind == "state" and any("highest_cell_voltage" in item["body"] for item in items(piece))

    return captures.each(P, "extremes", says, judge)


@proves("GBT-ANSWER-001")
def answers(captures: Captures) -> str:
    asked: set[tuple[bytes, int, bytes]] = set()
    found = 0
    for piece in captures.pieces(P):
        if not in_form(piece):
            continue
        key = (piece.data[4:21], piece.data[2], piece.data[24:30] if piece.data[2] in range(1, 7) else b"")
        if piece.data[3] == 0xFE:
            asked.add(key)
        elif piece.data[2] in range(1, 9) and asked:
            found += 1
            if key not in asked:
                raise piece.broken("command and time of a frame before it", f"command {key[1]:02x}, time {key[2].hex(' ')}")
    if not found:
        raise NotExecuted("no answer behind what it answers", "capture both directions of a session")
    return f"{found} answers"
