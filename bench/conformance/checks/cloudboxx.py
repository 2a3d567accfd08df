"""The checks of captured CloudBoxx frames: each looks at the bytes or the fields that its requirement is about."""

from collections.abc import Callable, Iterator

from bench.conformance.captures import Captures, Piece
from bench.conformance.checks.frames import error_check, field_check, has, of_kind, sound
from bench.conformance.requirement import NotExecuted, proves
from protocols.checksums import crc16_ccitt_false
from protocols.cloudboxx import BY_NAME, KNOWN_BITS, SIGNALS

P = "cloudboxx"
OVERHEAD, LIMIT = 34, 1024
YEAR_2020, YEAR_2100 = 1_577_836_800, 4_102_444_800
MODULUS = 1 << 32
S = "body.said.signals."


def begun(piece: Piece) -> bool:
    """Whether there is a header to look at."""
    return piece.data[:2] == b"\xcb\x01" and len(piece.data) >= 24


@proves("CBX-FRAME-001")
def sync(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        if piece.data[:2] != b"\xcb\x01":
            raise piece.broken("cb 01", piece.data[:2].hex(" ") or "nothing")

    return captures.each(P, "frame", lambda piece: piece.offset == 0 or sound(piece), judge)


@proves("CBX-FRAME-002")
def type_is_known(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        if piece.data[2] not in (1, 2, 3, 4, 5, 0x81, 0x82, 0x83, 0x84):
            raise piece.broken("a type of the table", f"{piece.data[2]:02x}")

    return captures.each(P, "frame", lambda piece: begun(piece) and sound(piece), judge)


@proves("CBX-FRAME-003")
def flags(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        if piece.data[3] & ~0x06:
            raise piece.broken("no flag but 02 and 04", f"{piece.data[3]:02x}")

    return captures.each(P, "frame", lambda piece: begun(piece) and sound(piece), judge)


@proves("CBX-FRAME-004")
def identity(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        assert piece.capture.unit is not None
        found, wanted = piece.data[4:12].hex().upper(), piece.capture.unit.telematics_unit_id
        if found != wanted:
            raise piece.broken(wanted, found)

    applies: Callable[[Piece], bool] = lambda piece: begun(piece) and sound(piece) and piece.capture.unit is not None  # noqa: E731
    return captures.each(
        P, "frame whose unit is known", applies, judge, "name the unit: --brand CLOUDBOXX --unit QNR, or a capture with topics"
    )


field_check("CBX-FRAME-005", P, "frame", r"captured\.milliseconds", lambda value: value <= 999, "0 to 999")


@proves("CBX-FRAME-006")
def length(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        said, there = OVERHEAD + int.from_bytes(piece.data[22:24], "little"), len(piece.data)
        bad = (
            piece.error is not None
            and piece.error.reason in ("truncated", "bad_length", "oversized")
            and (piece.error.reason != "bad_length" or piece.error.field == "length")
        )
        if bad or (sound(piece) and said != there):
            raise piece.broken(f"a frame of {said} bytes, as its length says", f"{there} bytes")

    return captures.each(P, "frame", begun, judge)


@proves("CBX-FRAME-007")
def limit(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        said = OVERHEAD + int.from_bytes(piece.data[22:24], "little")
        if said > LIMIT:
            raise piece.broken(f"at most {LIMIT} bytes", f"{said} bytes")

    return captures.each(P, "frame", begun, judge)


@proves("CBX-FRAME-008")
def crc(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        end = 24 + int.from_bytes(piece.data[22:24], "little") + 8
        expected, found = crc16_ccitt_false(piece.data[:end]), int.from_bytes(piece.data[end : end + 2], "little")
        if expected != found:
            raise piece.broken(
                f"CRC {expected:04x}", f"{found:04x}" + (f" ({piece.error.guess})" if piece.error and piece.error.guess else "")
            )

    def whole(piece: Piece) -> bool:
        return begun(piece) and len(piece.data) >= OVERHEAD + int.from_bytes(piece.data[22:24], "little")

    return captures.each(P, "whole frame", whole, judge)


@proves("CBX-FRAME-009")
def seal(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        if piece.error is not None and piece.error.reason == "forged":
            raise piece.broken("a seal that holds under K_seal", piece.raw("seal").hex() or "another")

    def keyed(piece: Piece) -> bool:
        return (
            sound(piece) and captures.keys.peer(piece.capture.unit.telematics_unit_id if piece.capture.unit else "") is not None
        )

    if captures.pieces(P) and not any(map(keyed, captures.pieces(P))):
        raise NotExecuted("the unit's K_seal is not known", "give --seal-key (with --unit), or --units FILE")
    return captures.each(P, "sealed frame", keyed, judge)


@proves("CBX-FRAME-010")
def back_to_back(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        behind = len(piece.data) - OVERHEAD - int.from_bytes(piece.data[22:24], "little")
        if piece.offset and piece.data[:2] != b"\xcb\x01":
            raise piece.broken("frames back to back", f"{len(piece.data)} bytes that are no frame")
        if begun(piece) and behind > 0 and piece.error is None:
            raise piece.broken("nothing behind the frame", f"{behind} bytes")

    return captures.each(P, "frame", lambda piece: True, judge)


@proves("CBX-FRAME-011")
def no_sequence_down(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        if any(piece.data[12:16]):
            raise piece.broken("sequence 0", piece.data[12:16].hex(" "))

    return captures.each(P, "frame on the way down", lambda piece: sound(piece) and begun(piece) and piece.data[2] >= 0x80, judge)


@proves("CBX-FRAME-012")
def direction(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        going = "down" if piece.data[2] >= 0x80 else "up"
        if going != piece.capture.direction:
            raise piece.broken(f"a type that goes {piece.capture.direction}", f"type {piece.data[2]:02x}")

    applies: Callable[[Piece], bool] = lambda piece: begun(piece) and sound(piece) and bool(piece.capture.direction)  # noqa: E731
    return captures.each(P, "frame whose direction is known", applies, judge, "capture with topics: a recording or a pcap")


@proves("CBX-FRAME-013")
def plausible_time(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        seconds = int.from_bytes(piece.data[16:20], "little")
        if not YEAR_2020 <= seconds < YEAR_2100:
            raise piece.broken("a time from 2020 on, little-endian Unix seconds", str(seconds))

    applies: Callable[[Piece], bool] = lambda piece: begun(piece) and sound(piece) and not piece.data[3] & 4  # noqa: E731
    return captures.each(P, "frame with a synchronised clock", applies, judge)


def _body_size(id: str, kind: str, code: int, size: int) -> None:
    @proves(id)
    def check(captures: Captures) -> str:
        def judge(piece: Piece) -> None:
            there = int.from_bytes(piece.data[22:24], "little")
            if there != size:
                raise piece.broken(f"a body of {size} bytes", f"{there} bytes")

        def applies(piece: Piece) -> bool:
            whole = sound(piece) or (piece.error is not None and piece.error.reason == "bad_length")
            return begun(piece) and whole and piece.data[2] == code

        return captures.each(P, kind, applies, judge)

    check.__qualname__ = f"{kind}_size"


_body_size("CBX-HELLO-001", "hello", 0x01, 39)
_body_size("CBX-BEAT-001", "heartbeat", 0x04, 10)
_body_size("CBX-ACK-001", "Ack", 0x81, 8)

field_check(
    "CBX-HELLO-002",
    P,
    "hello",
    r"body\.said\.iccid",
    lambda value: value.rstrip(b"\0").isdigit(),
    "ASCII digits padded with 00",
    "hello",
)
field_check("CBX-HELLO-003", P, "hello", r"body\.said\.reset_cause", lambda value: value <= 4, "0 to 4", "hello")


def _oldest_check(id: str, field: str, *kinds: str) -> None:
    @proves(id)
    def check(captures: Captures) -> str:
        def judge(piece: Piece) -> None:
            oldest, own = piece.fields.get(field), int.from_bytes(piece.data[12:16], "little")
            if oldest is None:
                raise piece.broken("the oldest sequence in the journal", "none")
            if (own - oldest) % MODULUS >= MODULUS // 2:
                raise piece.broken(f"at most its own sequence {own}", f"oldest sequence {oldest}")

        return captures.each(P, " or ".join(kinds), lambda piece: sound(piece) and piece.kind in kinds, judge)

    check.__qualname__ = f"{kinds[0]}_oldest"


_oldest_check("CBX-HELLO-004", "body.said.oldest_sequence", "hello")
_oldest_check("CBX-STATE-003", f"{S}oldest_sequence", "state")
_oldest_check("CBX-BEAT-002", "body.said.oldest_sequence", "heartbeat")


def _report(piece: Piece) -> bool:
    whole = sound(piece) or (piece.error is not None and piece.error.reason == "bad_length")
    return begun(piece) and whole and piece.data[2] in (2, 3)


@proves("CBX-STATE-001")
def bitmap(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        unknown = int.from_bytes(piece.data[24:32], "little") & ~KNOWN_BITS
        if unknown or int.from_bytes(piece.data[22:24], "little") < 8:
            raise piece.broken("a bitmap of known bits", f"unknown bits {unknown:#x}")

    return captures.each(P, "state or event", _report, judge)


@proves("CBX-STATE-002")
def widths(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        present = int.from_bytes(piece.data[24:32], "little")
        size = 8 + sum(signal.form.sizeof() for signal in SIGNALS if present >> signal.bit & 1)
        there = int.from_bytes(piece.data[22:24], "little")
        if not present & ~KNOWN_BITS and there != size:
            raise piece.broken(f"a body of {size} bytes for these bits", f"{there} bytes")

    return captures.each(P, "state or event", _report, judge)


def _signal_check(id: str, names: str, holds: Callable[[int], bool], expected: str) -> None:
    field_check(id, P, f"report with {names.replace('|', ' or ')}", rf"body\.said\.signals\.(?:{names})", holds, expected)


@proves("CBX-STATE-004")
def on_earth(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        for axis, most in (("latitude", 900_000_000), ("longitude", 1_800_000_000)):
            value = piece.fields.get(S + axis, 0)
            if abs(value) > most:
                raise piece.broken(f"{axis} within {most}", str(value))

    return captures.each(P, "report with a position", has(r"body\.said\.signals\.(?:latitude|longitude)"), judge)


@proves("CBX-STATE-005")
def both_axes(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        if S + "latitude" not in piece.fields or S + "longitude" not in piece.fields:
            raise piece.broken("latitude and longitude", "one of them")

    return captures.each(P, "report with a position", has(r"body\.said\.signals\.(?:latitude|longitude)"), judge)


_signal_check("CBX-STATE-006", "heading", lambda value: value < 36_000, "below 36000")
_signal_check("CBX-STATE-007", "gnss_fix", lambda value: value <= 3, "0 to 3")
_signal_check("CBX-STATE-009", "reset_cause", lambda value: value <= 4, "0 to 4")
_signal_check("CBX-STATE-010", "network", lambda value: 200_000 <= value < 800_000, "a country code of 200 to 799 times 1000")
_signal_check("CBX-STATE-013", "adblue_level", lambda value: value <= 200, "at most 200")
_signal_check("CBX-STATE-015", "uptime", lambda value: value < YEAR_2100 - YEAR_2020, "less than the time since 2020")
_signal_check("CBX-EVENT-001", "cause", lambda value: 1 <= value <= 8, "1 to 8")


@proves("CBX-STATE-008")
def satellites(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        if piece.fields[S + "satellites"] < 4:
            raise piece.broken("four satellites or more", str(piece.fields[S + "satellites"]))

    def fixed(piece: Piece) -> bool:
        return sound(piece) and piece.fields.get(S + "gnss_fix") == 3 and S + "satellites" in piece.fields

    return captures.each(P, "report with a three-dimensional fix", fixed, judge)


@proves("CBX-STATE-011")
def driving_flag(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        ignition, flag = piece.fields[S + "switches"] & 3, piece.data[3] >> 1 & 1
        if ignition != flag:
            raise piece.broken(f"driving flag {ignition}", str(flag))

    def says(piece: Piece) -> bool:
        return sound(piece) and piece.fields.get(S + "switches", 3) & 3 in (0, 1)

    return captures.each(P, "report that says ignition", says, judge)


def _in_order(captures: Captures) -> Iterator[tuple[Piece, Piece]]:
    """Neighbours in each unit's sequence."""
    units: dict[bytes, dict[int, Piece]] = {}
    for piece in captures.pieces(P):
        if sound(piece) and begun(piece) and piece.data[2] < 0x80:
            units.setdefault(piece.data[4:12], {}).setdefault(int.from_bytes(piece.data[12:16], "little"), piece)
    for said in units.values():
        for sequence, piece in said.items():
            if (after := said.get((sequence + 1) % MODULUS)) is not None:
                yield piece, after


@proves("CBX-STATE-012")
def odometer(captures: Captures) -> str:
    found = 0
    for before, after in _in_order(captures):
        pair = before.fields.get(S + "odometer"), after.fields.get(S + "odometer")
        if pair[0] is not None and pair[1] is not None:
            found += 1
            if pair[1] < pair[0]:
                raise after.broken(f"at least {pair[0]}", f"odometer {pair[1]}")
    if not found:
        raise NotExecuted("no two reports with an odometer in a row", "capture more of one unit")
    return f"{found} pairs"


@proves("CBX-STATE-014")
def unused_bits(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        for name, value in piece.named(r"body\.said\.signals\.\w+"):
            signal = BY_NAME[name.rpartition(".")[2]]
            for place in range(len(signal.states), 4 if signal.states else 0):
                if value >> 2 * place & 3 not in (0, 3):
                    raise piece.broken(f"unused states of {signal.name} unknown or off", f"{value:08b}")

    groups = "|".join(signal.name for signal in SIGNALS if signal.states)
    return captures.each(P, "report with two-bit states", has(rf"body\.said\.signals\.(?:{groups})"), judge)


@proves("CBX-EVENT-002")
def no_cause(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        if S + "cause" in piece.fields:
            raise piece.broken("no cause", str(piece.fields[S + "cause"]))

    return captures.each(P, "state", of_kind("state"), judge)


@proves("CBX-ACK-002")
def ack_bitmap(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        if piece.fields["body.said.bitmap"] & 1:
            raise piece.broken("bit 0 clear", f"bitmap {piece.fields['body.said.bitmap']:08x}")

    return captures.each(P, "Ack", of_kind("ack"), judge)


field_check("CBX-CONFIG-001", P, "config", r"body\.said\.\w+_interval", lambda value: value >= 1, "1 s or more", "config")


@proves("CBX-TIME-001")
def told_time(captures: Captures) -> str:
    def judge(piece: Piece) -> None:
        said, own = piece.fields["body.said.seconds"], piece.fields["captured.seconds"]
        if piece.fields["body.said.milliseconds"] > 999 or abs(said - own) > 2:
            raise piece.broken(f"{own} s, 0 to 999 ms", f"{said} s, {piece.fields['body.said.milliseconds']} ms")

    return captures.each(P, "time frame", of_kind("time"), judge)


@proves("CBX-SEQ-001")
def sequence(captures: Captures) -> str:
    """A capture may miss a frame, and one that waits may be overtaken: a third of the numbers missing is another count."""
    said: dict[bytes, dict[int, Piece]] = {}
    for piece in captures.pieces(P):
        if sound(piece) and begun(piece) and piece.data[2] < 0x80:
            number = int.from_bytes(piece.data[12:16], "little")
            known = said.setdefault(piece.data[4:12], {}).setdefault(number, piece)
            if known.data != piece.data:
                raise piece.broken(
                    f"sequence {number} with the bytes that it had: {known.data.hex()}", "other bytes under the same sequence"
                )
    found = [frames for frames in said.values() if len(frames) > 3]
    for frames in found:
        span = max(frames) - min(frames) + 1
        if 3 * (span - len(frames)) > span and span < MODULUS // 2:
            raise frames[max(frames)].broken(
                "numbers that count up by one", f"{len(frames)} frames with numbers from {min(frames)} to {max(frames)}"
            )
    if not found:
        raise NotExecuted("fewer than four numbered frames of one unit", "capture more of one unit")
    return f"{sum(map(len, found))} sequence numbers"


@proves("CBX-SEQ-002")
def times_in_order(captures: Captures) -> str:
    found = 0
    for before, after in _in_order(captures):
        if before.data[3] & 4 or after.data[3] & 4:
            continue
        found += 1
        was, now = (int.from_bytes(piece.data[16:20], "little") for piece in (before, after))
        if now < was - 60:
            raise after.broken(f"a time from {was} on", str(now))
    if not found:
        raise NotExecuted("no two frames in a row with a synchronised clock", "capture more of one unit")
    return f"{found} pairs"


__all__ = ["error_check"]
