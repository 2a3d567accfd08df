"""The command envelope: every command, result and algorithm, the boundaries of its numbers, and forged ones."""

from collections.abc import Iterator
from typing import Any

from bench.conformance.vectors import FORMAT, VERSION, Good, plain
from protocols import envelope
from protocols.codec import ProtocolError
from protocols.envelope import COMMAND_CODES, NATIVE_COMMAND, Algorithm, Envelope, Result, Type

UNIT, KEY_ID, KEY = "0123456789ABCDEF", 1, bytes(range(32, 64))
COUNTER, EXPIRES = 1_795_446_000_123, 1_795_446_030


def _good() -> Iterator[Good]:
    def made(name: str, said: Envelope) -> Good:
        facts: dict[str, Any] = {
            "algorithm": int(said.algorithm),
            "key_id": said.key_id,
            "type": int(said.type),
            "counter": said.counter,
        }
        facts |= {"expires": said.expires, "command": said.command, "parameters": said.parameters}
        data = envelope.close(said, UNIT, KEY)
        assert envelope.open(data, UNIT, {said.key_id: KEY}) == said, name
        return Good(name, data, {"kind": "request" if said.type is Type.REQUEST else "response", "unit": UNIT, "facts": facts})

    base = Envelope(Type.REQUEST, KEY_ID, COUNTER, EXPIRES, 0x0101)
    for algorithm in Algorithm:
        for command, code in {**COMMAND_CODES, "native": NATIVE_COMMAND}.items():
            parameters = bytes.fromhex("0d00200106000401000100") if code == NATIVE_COMMAND else b""
            request = Envelope(Type.REQUEST, KEY_ID, COUNTER, EXPIRES, code, parameters, algorithm)
            yield made(f"request {command}, {algorithm.name}", request)
        for result in Result:
            detail = {Result.REPLAY: COUNTER.to_bytes(8, "big"), Result.CLOCK: bytes(8), Result.PRECONDITION: b"ignition_on"}
            yield made(
                f"response {result.name}, {algorithm.name}",
                Envelope(Type.REQUEST, KEY_ID, COUNTER, EXPIRES, 0x0101, b"", algorithm).response(
                    result, detail.get(result, b"")
                ),
            )
    for counter in (0, 1, (1 << 63) - 1, (1 << 64) - 1):
        yield made(f"counter {counter}", Envelope(base.type, KEY_ID, counter, EXPIRES, base.command))
    for expires in (1, (1 << 32) - 1):
        yield made(f"expires {expires}", Envelope(base.type, KEY_ID, COUNTER, expires, base.command))
    for size in (1, 8, 255, 256):
        yield made(f"{size} bytes of parameters", Envelope(base.type, KEY_ID, COUNTER, EXPIRES, base.command, bytes(size)))
    for key_id in (0, 255):
        yield made(f"key id {key_id}", Envelope(base.type, key_id, COUNTER, EXPIRES, base.command))


def _bad() -> Iterator[tuple[str, bytes, str]]:
    good = envelope.close(Envelope(Type.REQUEST, KEY_ID, COUNTER, EXPIRES, 0x0101), UNIT, KEY)
    yield "nothing", b"", "truncated"
    yield "cut off", good[:-1], "truncated"
    yield "a byte too many", good + b"\0", "bad_length"
    yield "version 2", b"\x02" + good[1:], "bad_sync"
    yield "algorithm 3", good[:1] + b"\x03" + good[2:], "unsupported"
    yield "an unknown key id", good[:2] + b"\x09" + good[3:], "forged"
    for at in (3, 4, 12, 16, 20, len(good) - 1):
        yield f"one bit flipped in byte {at}", good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :], "forged"
    yield (
        "made for another unit",
        envelope.close(Envelope(Type.REQUEST, KEY_ID, COUNTER, EXPIRES, 0x0101), UNIT[:-1] + "0", KEY),
        "forged",
    )
    long = good[:18] + (257).to_bytes(2, "big") + bytes(257) + good[20:]
    yield "257 bytes of parameters", long, "oversized"


def document() -> dict[str, Any]:
    """All of them, as JSON values."""
    refused = []
    for name, data, reason in _bad():
        try:
            envelope.open(data, UNIT, {KEY_ID: KEY})
        except ProtocolError as error:
            if error.reason != reason:
                raise AssertionError(f"{name}: {error.reason}") from error
            refused.append(
                {
                    "name": name,
                    "hex": data.hex(),
                    "reason": reason,
                    "offset": error.offset,
                    "field": error.field,
                    "needs": "unit and key",
                }
            )
        else:
            raise AssertionError(name)
    return {
        "format": FORMAT,
        "version": VERSION,
        "protocol": "vtc",
        "about": {"unit": UNIT, "command_key": KEY.hex(), "key_id": "any: all are this key"},
        "vectors": [{"name": each.name, "hex": each.data.hex(), "expect": plain(each.expect)} for each in _good()],
        "refused": refused,
    }
