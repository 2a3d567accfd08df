"""Any payload at a protocol: mutants whose lengths, checksums and seals are made right again, and all that reads them.

Mending is the point: without it a checksum refuses nearly every mutant, and no parser behind it is ever tried.
"""

import json
import random
import time
import tracemalloc
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args
from zlib import crc32

import modeldb
from protocols import load
from protocols.checksums import bcc, crc16_arc, crc16_ccitt_false
from protocols.codec import Cut, Frame, Peer, Protocol, ProtocolError, Reason
from protocols.explain import explain
from protocols.seal import seal
from protocols.stream import Framer, Framing

ROOT = Path(__file__).parents[2]
OUTSIDERS = ROOT.parent / "shared" / "vectors"
OUTSIDERS_FILES = {
    "autoapi": ("autoapi.jsonl", "message_hex_derived"),
    "gbt32960": ("gb32960.jsonl", "hex"),
    "teltonika": ("teltonika.jsonl", "hex"),
}
KEY = bytes(range(32))
REASONS = frozenset(get_args(Reason))

SIZE_LIMIT_BYTES = 1024
"""What the bounds below are for; mutants are no longer."""

CPU_LIMIT_S = 0.25
"""Processor time for reading one payload, instrumented and on a slow machine; it takes a fiftieth of that by itself."""

MEMORY_LIMIT_BYTES = 1 << 20
MEMORY_EVERY = 97
"""Every so many payloads are read under tracemalloc, which makes them slow; and each that took longer than any before."""

STREAM_LIMIT_BYTES = 4096


def seeds(protocol: str) -> list[bytes]:
    """Frames to begin with: our own, and those of others where they are."""
    said = json.loads((ROOT / "tests" / "vectors" / f"{protocol}.json").read_text())
    found = [each["hex"] for each in (said["frames"] if isinstance(said, dict) else said) if "hex" in each]
    name, key = OUTSIDERS_FILES.get(protocol, ("", ""))
    if name and (OUTSIDERS / name).exists():
        found += [json.loads(line)[key] for line in (OUTSIDERS / name).read_text().splitlines()]
    whole = (bytes.fromhex(each) for each in found if each)
    return sorted({frame for frame in whole if len(frame) <= SIZE_LIMIT_BYTES}, key=lambda frame: (len(frame), frame))


# Mutants -----------------------------------------------------------------------------------------------------------------

_BYTES = (0, 1, 2, 3, 5, 6, 7, 0x0D, 0x10, 0x7F, 0x80, 0x81, 0xFD, 0xFE, 0xFF)
_TWO = tuple(n.to_bytes(2, "big") for n in (0, 1, 3, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFD, 0xFFFE, 0xFFFF))


def mutant(data: bytes, dice: random.Random, others: list[bytes]) -> bytearray:
    """`data` with up to six things done to it."""
    changed = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 3, 6))):
        at = dice.randrange(len(changed) + 1)
        end = at + dice.randrange(1, 13)
        match dice.randrange(9):
            case 0 if at < len(changed):
                changed[at] ^= 1 << dice.randrange(8)
            case 1 if at < len(changed):
                changed[at] = dice.choice(_BYTES)
            case 2:
                changed[at : at + 2] = dice.choice(_TWO)
            case 3:
                del changed[at:end]
            case 4:
                changed[at:at] = dice.randbytes(end - at)
            case 5:
                changed[at:at] = changed[at:end] * dice.randrange(1, 9)
            case 6:
                other = dice.choice(others)
                begin = dice.randrange(len(other))
                changed[at : at + dice.randrange(40)] = other[begin : begin + dice.randrange(1, 60)]
            case 7:
                changed[at:end] = bytes([dice.choice((0, 0xFF))]) * dice.randrange(1, 20)
            case _:
                changed += dice.choice(others)
        del changed[SIZE_LIMIT_BYTES:]
    return changed


def _teltonika(data: bytearray, dice: random.Random) -> bytearray:
    if data[:2] == b"\0\x0f" or len(data) < 15:
        return data
    if data[4:5] == b"\1" and data[:2] != b"\0\0":
        data[:2] = (len(data) - 2).to_bytes(2, "big")
        data[6:8] = b"\0\x0f"
        data[8:23] = b"356307042441013"
        if len(data) > 25:
            data[-1] = data[24]
        return data
    data[:4] = bytes(4)
    if dice.random() < 0.8:
        data[-5] = data[9]
    data[4:8] = (len(data) - 12).to_bytes(4, "big")
    data[-4:] = crc16_arc(bytes(data[8:-4])).to_bytes(4, "big")
    return data


def _gbt32960(data: bytearray, dice: random.Random) -> bytearray:
    if len(data) < 25:
        return data
    data[:2] = dice.choice((b"##", b"##", b"$$"))
    if dice.random() < 0.9:
        data[21] = 1
    data[22:24] = (len(data) - 25).to_bytes(2, "big")
    data[-1] = bcc(bytes(data[2:-1]))
    return data


def _cloudboxx(data: bytearray, dice: random.Random) -> bytearray:
    if len(data) < 34:
        return data
    data[:2] = b"\xcb\x01"
    data[22:24] = (len(data) - 34).to_bytes(2, "little")
    data[-10:-2] = seal(bytes(data[:-10]), KEY)
    data[-2:] = crc16_ccitt_false(bytes(data[:-2])).to_bytes(2, "little")
    return data


def _autoapi(data: bytearray, dice: random.Random) -> bytearray:
    """Nothing holds a message together but sizes: the properties that are there, with sizes that fit what is left of them."""
    said = bytearray((0x0D, *(data[1:3].ljust(2, b"\0")), 1))
    rest = bytes(data[4:])
    while rest and len(said) < SIZE_LIMIT_BYTES:
        size = int.from_bytes(rest[1:3], "big")
        raw, rest_behind = rest[3 : 3 + size], rest[3 + size :]
        parts = bytearray()
        while raw:
            length = min(int.from_bytes(raw[1:3], "big"), max(len(raw) - 3, 0))
            parts += raw[:1] + length.to_bytes(2, "big") + raw[3 : 3 + length]
            raw = raw[3 + length :]
        parts = parts or bytearray(b"\1\0\0")
        said += rest[:1] + len(parts).to_bytes(2, "big") + parts
        rest = rest_behind
    return said


MENDED: Mapping[str, Callable[[bytearray, random.Random], bytearray]] = {
    "autoapi": _autoapi,
    "cloudboxx": _cloudboxx,
    "gbt32960": _gbt32960,
    "teltonika": _teltonika,
}


def mended(protocol: str, data: bytearray, dice: random.Random) -> bytes:
    """Three of four mutants with length, checksum and seal as they should be, the others as they are."""
    if dice.random() < 0.75:
        data = MENDED[protocol](data, dice) if protocol in MENDED else _with_its_checksum(protocol, data)
    return bytes(data[:SIZE_LIMIT_BYTES])


def _with_its_checksum(protocol: str, data: bytearray) -> bytearray:
    """For a protocol that nobody has told anything about: what it says of the checksum at the end is put there."""
    start = next(iter(load()[protocol].starts), b"")
    data[: len(start)] = start
    said = load()[protocol].checksum(bytes(data))
    expected = bytes.fromhex(said["expected"]) if said else b""
    data[len(data) - len(expected) :] = expected
    return data


# What reads them ---------------------------------------------------------------------------------------------------------


class Broken(AssertionError):
    """A promise about any payload does not hold; says which payload."""


@dataclass
class Examiner:
    """Has everything that reads payloads of one protocol read one, and looks at what comes of it.

    `frames` counts the whole and right frames that were found: a fuzzer that finds none tries nothing behind the checksum.
    """

    protocol: Protocol
    dice: random.Random = field(default_factory=lambda: random.Random(1))
    tried: int = 0
    frames: int = 0
    slowest_s: float = 0.0
    largest_bytes: int = 0
    reasons: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        brands = [brand for brand in modeldb.load().brands.values() if brand.protocol == self.protocol.name]
        models = [(brand.name, model) for brand in brands for model in modeldb.load().available(brand.name)]
        self.translations = [model.units[brand] for brand, model in models[:4]]
        self.framing: Framing | None = getattr(self.protocol, "framing", None)

    def examine(self, payload: bytes) -> None:
        """Raises Broken."""
        self.tried += 1
        try:
            began_s = time.perf_counter()
            cuts = self._read(payload)
            took_s = time.perf_counter() - began_s
            if took_s > self.slowest_s:
                took_s = min(took_s, self._cpu_s(payload))
            if took_s > self.slowest_s or self.tried % MEMORY_EVERY == 0:
                self._weigh(payload)
            self.slowest_s = max(self.slowest_s, took_s)
            assert took_s < CPU_LIMIT_S, f"it took {1000 * took_s:.0f} ms"
            assert self.largest_bytes <= MEMORY_LIMIT_BYTES, f"it took {self.largest_bytes} bytes"
            self._cover(payload, cuts)
            match crc32(payload) % 6:  # these take several times as long as reading
                case 0 | 1:
                    self._explain(payload)
                case 2 | 3 | 4:
                    self._stream(payload)
        except Exception as error:
            raise Broken(f"{self.protocol.name}: {type(error).__name__}: {error}: {payload.hex()}") from error

    def _read(self, payload: bytes) -> list[Cut]:
        """What the gateway does with it."""
        found = list(self.protocol.split(payload))
        for cut in found:
            frame = self._decoded(cut.data)
            if frame is None or cut.error is not None:
                continue
            self.frames += 1
            self._answered(cut.data, frame)
        return found

    def _decoded(self, data: bytes) -> Frame | None:
        try:
            return self.protocol.decode(data)
        except ProtocolError as error:
            wrong = error
        self.reasons.add(wrong.reason)
        assert wrong.reason in REASONS
        assert 0 <= wrong.offset <= len(data), f"the error's offset {wrong.offset} is not in the payload"
        self.protocol.dismiss(data, wrong)
        return None

    def _answered(self, data: bytes, frame: Frame) -> None:
        built = self.protocol.encode(frame, KEY)
        ours = len(data) - 10 if self.protocol.sealed else len(data)
        assert built[:ours] == data[:ours], f"built again it is {built.hex()}"
        self.protocol.answer(frame, len(frame.reports))
        self.protocol.answer(frame, 0)
        for report in frame.reports[:2]:
            for translation in self.translations:
                translation.translate(report.signals)
        with suppress(ProtocolError):
            self.protocol.decode(data, Peer(frame.unit or "", (KEY,)))

    def _cpu_s(self, payload: bytes) -> float:
        """Processor time for reading it, the best of three: another process may have had the processor the first time."""
        took_s = []
        for _ in range(3):
            began_s = time.thread_time()
            self._read(payload)
            took_s.append(time.thread_time() - began_s)
        return min(took_s)

    def _weigh(self, payload: bytes) -> None:
        tracemalloc.start()
        try:
            for cut in self.protocol.split(payload):
                self._decoded(cut.data)
            self.largest_bytes = max(self.largest_bytes, tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()

    def _cover(self, payload: bytes, cuts: list[Cut]) -> None:
        assert b"".join(cut.data for cut in cuts) == payload
        at = 0
        for cut in cuts:
            assert cut.offset == at
            assert cut.error is None or at <= cut.error.offset <= len(payload)
            at += len(cut.data)
        self._decoded(payload)

    def _explain(self, payload: bytes) -> None:
        at = 0
        for each in explain(payload, self.protocol):
            json.dumps(each.document(), allow_nan=False)
            for said in each.fields:
                assert (said.offset, said.raw) == (at, payload[at : at + said.size])
                at += said.size
        assert at == len(payload)

    def _stream(self, payload: bytes) -> None:
        if self.framing is None:
            return
        framer, at, found = Framer(self.framing, STREAM_LIMIT_BYTES), 0, b""
        while at < len(payload):
            end = at + self.dice.choice((1, 2, 7, 64, 500))
            found += b"".join(cut.data for cut in framer.receive(payload[at:end]))
            assert framer.held_bytes < STREAM_LIMIT_BYTES
            at = end
        assert found + b"".join(cut.data for cut in framer.close()) == payload

    def said(self) -> dict[str, Any]:
        """What was tried, as JSON."""
        return {
            "protocol": self.protocol.name,
            "tried": self.tried,
            "frames": self.frames,
            "slowest_ms": round(1000 * self.slowest_s, 2),
            "largest_bytes": self.largest_bytes,
            "reasons": sorted(self.reasons),
        }


def of(protocol: str) -> Examiner:
    """An examiner of the protocol by this name."""
    return Examiner(load()[protocol])
