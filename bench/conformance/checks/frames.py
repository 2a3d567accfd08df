"""What every check of captured frames shares, and the checks of the command envelope, whatever protocol carries it."""

from collections.abc import Callable, Iterator
from typing import Any

from bench.conformance.captures import Captures, Piece, opened
from bench.conformance.requirement import Broken, NotExecuted, proves
from protocols.codec import ProtocolError
from protocols.envelope import COMMAND_NAMES, NATIVE_COMMAND

READABLE = ("forged", "identity_mismatch", "unsupported", "malformed", "expired")
"""What may be wrong with a piece whose form holds: its fields can be looked at."""


def sound(piece: Piece) -> bool:
    """Whether the piece is a frame whose form and checksum hold."""
    return piece.error is None or piece.error.reason in READABLE


def has(pattern: str, *kinds: str) -> Callable[[Piece], bool]:
    """Sound frames (of these kinds) that have a field of this name."""
    return lambda piece: sound(piece) and (not kinds or piece.kind in kinds) and any(True for _ in piece.named(pattern))


def of_kind(*kinds: str) -> Callable[[Piece], bool]:
    """Frames of these kinds."""
    return lambda piece: piece.kind in kinds


def field_check(
    id: str, protocol: str, what: str, pattern: str, holds: Callable[[Any], bool], expected: str, *kinds: str
) -> None:
    """Register the check that every field of this name holds: `expected` says what, for people."""

    def check(captures: Captures) -> str:
        def judge(piece: Piece) -> None:
            for name, value in piece.named(pattern):
                if not holds(value):
                    raise piece.broken(expected, f"{name} = {value!r}")

        return captures.each(protocol, what, has(pattern, *kinds), judge)

    check.__qualname__ = f"{id.lower().replace('-', '_')}"
    check.__module__ = f"bench.conformance.checks.{protocol}"
    proves(id)(check)


def error_check(
    id: str,
    protocol: str,
    what: str,
    expected: str,
    *reasons: str,
    fields: str = "",
    when: Callable[[ProtocolError], bool] = lambda error: True,
) -> None:
    """Register the check that no piece was refused for these reasons (at a field whose name begins with one of `fields`, and
    where `when` says that it is this which is wrong)."""

    def applies(piece: Piece) -> bool:
        return piece.error is None or sound(piece) or piece.error.reason in reasons

    def check(captures: Captures) -> str:
        def judge(piece: Piece) -> None:
            error = piece.error
            if error is None or error.reason not in reasons or not _at(error, fields) or not when(error):
                return
            guess = f" ({error.guess})" if error.guess else ""
            seen = f"{error.reason} at byte {error.offset}: {error.found or 'another'}{guess}"
            raise piece.broken(f"{expected}: {error.expected}" if error.expected else expected, seen)

        return captures.each(protocol, what, applies, judge)

    check.__qualname__ = f"{id.lower().replace('-', '_')}"
    check.__module__ = f"bench.conformance.checks.{protocol}"
    proves(id)(check)


def _at(error: ProtocolError, fields: str) -> bool:
    return not fields or error.field.startswith(tuple(fields.split()))


# The envelope ------------------------------------------------------------------------------------------------------------


def envelopes(captures: Captures) -> Iterator[tuple[Piece, bytes]]:
    """Every frame that carries an envelope, and the envelope's bytes."""
    for protocol in sorted(captures.protocols):
        for piece in captures.pieces(protocol):
            data = piece.frame.facts.get("envelope") if piece.frame else None
            if isinstance(data, bytes):
                yield piece, data


def _each_envelope(captures: Captures, judge: Callable[[Piece, bytes], None], applies: Any = None, what: str = "envelope") -> str:
    found = [(piece, data) for piece, data in envelopes(captures) if applies is None or applies(piece, data)]
    if not found:
        raise NotExecuted(f"no {what} in what was captured", "capture a command: POST /vehicles/{id}/commands/{name}")
    for piece, data in found:
        judge(piece, data)
    return f"{len(found)} x {what}"


def _going(piece: Piece) -> str:
    return piece.capture.direction or ("up" if piece.kind == "result" else "down")


@proves("VTC-FORM-001")
def version_and_algorithm(captures: Captures) -> str:
    def judge(piece: Piece, data: bytes) -> None:
        if data[0] != 1 or data[1] not in (1, 2):
            raise piece.broken("version 01, algorithm 01 or 02", data[:2].hex(" "))

    return _each_envelope(captures, judge)


@proves("VTC-FORM-002")
def requests_down_responses_up(captures: Captures) -> str:
    def judge(piece: Piece, data: bytes) -> None:
        wanted = 2 if _going(piece) == "up" else 1
        if data[3] != wanted:
            raise piece.broken(f"type {wanted:02x} {_going(piece)}", f"{data[3]:02x}")

    return _each_envelope(captures, judge)


@proves("VTC-FORM-003")
def envelope_length(captures: Captures) -> str:
    def judge(piece: Piece, data: bytes) -> None:
        said = int.from_bytes(data[18:20], "big")
        if len(data) != 36 + said or said > 256:
            raise piece.broken("36 bytes and the parameters, at most 256", f"{len(data)} bytes, parameters said to be {said}")

    return _each_envelope(captures, judge)


@proves("VTC-FORM-004")
def expiry_is_a_time(captures: Captures) -> str:
    def judge(piece: Piece, data: bytes) -> None:
        if not any(data[12:16]):
            raise piece.broken("an expiry that is a time", "0")

    return _each_envelope(captures, judge)


@proves("VTC-FORM-005")
def command_is_known(captures: Captures) -> str:
    def judge(piece: Piece, data: bytes) -> None:
        code = int.from_bytes(data[16:18], "big")
        if code not in COMMAND_NAMES and code != NATIVE_COMMAND:
            raise piece.broken("a command of the table", f"{code:04x}")

    return _each_envelope(captures, judge)


@proves("VTC-FORM-006")
def response_has_a_result(captures: Captures) -> str:
    def judge(piece: Piece, data: bytes) -> None:
        if data[18:20] == b"\0\0" or data[20] > 6:
            raise piece.broken("a result 00 to 06", data[18:21].hex(" "))

    return _each_envelope(captures, judge, lambda piece, data: data[3] == 2, "response")


@proves("VTC-FORM-007")
def tag_holds(captures: Captures) -> str:
    judged = 0
    for piece, _ in envelopes(captures):
        try:
            judged += opened(piece, captures.keys) is not None
        except ProtocolError as error:
            raise piece.broken(
                "a tag that holds under the unit's K_cmd", f"{error.reason}: {error.field} {error.found}"
            ) from error
    if not judged:
        some = any(True for _ in envelopes(captures))
        reason = "the unit's K_cmd is not known" if some else "no envelope in what was captured"
        raise NotExecuted(reason, "give --command-key or --units" if some else "capture a command")
    return f"{judged} tags"


@proves("VTC-FORM-008")
def responses_answer_requests(captures: Captures) -> str:
    asked = {(str(piece.capture.unit), data[2], data[4:12], data[16:18]) for piece, data in envelopes(captures) if data[3] == 1}
    if not asked:
        raise NotExecuted("no request in what was captured", "capture both directions of a command")
    answered = [(piece, data) for piece, data in envelopes(captures) if data[3] == 2]
    if not answered:
        raise NotExecuted("no response in what was captured", "capture both directions of a command")
    for piece, data in answered:
        if (str(piece.capture.unit), data[2], data[4:12], data[16:18]) not in asked:
            raise piece.broken(
                "counter, key id and command of a request",
                f"key {data[2]}, counter {data[4:12].hex()}, command {data[16:18].hex()}",
            )
    return f"{len(answered)} responses"


@proves("VTC-FORM-009")
def counters_increase(captures: Captures) -> str:
    last: dict[str, tuple[int, bytes]] = {}
    seen: dict[str, set[bytes]] = {}

    def judge(piece: Piece, data: bytes) -> None:
        unit, counter = str(piece.capture.unit), int.from_bytes(data[4:12], "big")
        known = seen.setdefault(unit, set())
        if data not in known and unit in last and counter <= last[unit][0]:
            raise piece.broken(f"a counter above {last[unit][0]}", str(counter))
        known.add(data)
        last[unit] = max(last.get(unit, (0, b"")), (counter, data))

    return _each_envelope(captures, judge, lambda piece, data: data[3] == 1, "request")


__all__ = ["Broken", "envelopes", "error_check", "field_check", "has", "of_kind", "sound"]
