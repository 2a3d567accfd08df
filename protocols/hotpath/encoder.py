"""Single frames, fast: what Protocol.encode gives, by a packing that is learnt from what it gave for a frame of the same layout.

For many frames at once whose values are columns, `Decoder.build` is faster still. This is for whoever has one frame to say: a
simulated unit that reports, a gateway that acknowledges.
"""

import struct
from collections.abc import Callable, Hashable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from protocols.checksums import crc16_ccitt_false
from protocols.cloudboxx import CRC_SIZE_BYTES, PROTOCOL
from protocols.codec import Frame, ProtocolError
from protocols.hotpath.binding import order_of
from protocols.hotpath.plans import UNPACKED
from protocols.seal import SEAL_SIZE_BYTES, seal
from protocols.trace import Leaf, watch

LAYOUTS_LIMIT = 4096
"""Layouts that are known at a time; when they are more, all are learnt anew."""

_HEADER = ("flags", "qnr", "sequence", "captured.seconds", "captured.milliseconds")
_SIGNALS = "body.said.signals."
_FACTS = "body.said."
_TAIL_BYTES = SEAL_SIZE_BYTES + CRC_SIZE_BYTES
_OF_KINDS = {"state": _SIGNALS, "event": _SIGNALS, "ack": _FACTS, "heartbeat": _FACTS, "time": _FACTS}
"""The kinds whose values are all numbers, and under which path the declaration has them."""

_NONE: Mapping[str, Any] = {}


class _Layout(NamedTuple):
    """How frames of one layout are packed: structure as it is, between it the header's five values and those by `values`."""

    pack: Callable[..., bytes]
    structure: tuple[bytes, ...]
    order: tuple[int, ...]
    values: Callable[[Mapping[str, Any]], tuple[Any, ...]]
    width: int


class Encoder:
    """Says CloudBoxx frames: the bytes of Protocol.encode, and its ProtocolError where a frame cannot be said."""

    protocol = PROTOCOL.name

    def __init__(self) -> None:
        self._layouts: dict[Hashable, _Layout | None] = {}
        self._units: dict[str, bytes] = {}

    def encode(self, frame: Frame, key: bytes) -> bytes:
        """The frame, sealed with `key`."""
        kind, said = frame.kind, self._said(frame)
        name = (kind, *said)
        if name not in self._layouts:
            return self._learn(name, frame, said, key)
        layout = self._layouts[name]
        if layout is None or frame.unit is None:
            return PROTOCOL.encode(frame, key)
        seconds, milliseconds = divmod(frame.captured_at or 0, 1000)
        try:
            unit = self._units.get(frame.unit) or self._unit(frame.unit)
            given = (frame.facts.get("flags", 0), unit, frame.sequence or 0, seconds, milliseconds)
            data = _packed(layout, given, layout.values(said) if layout.width else ())
        except (struct.error, TypeError, ValueError):
            return PROTOCOL.encode(frame, key)  # which says what is wrong with it
        data += seal(data, key)
        return data + crc16_ccitt_false(data).to_bytes(CRC_SIZE_BYTES, "little")

    def encode_all(self, frames: Sequence[Frame], keys: Sequence[bytes]) -> list[bytes]:
        """Several frames, each sealed with its key."""
        return [self.encode(frame, key) for frame, key in zip(frames, keys, strict=True)]

    def acknowledge(self, unit: str, cumulative: int, bitmap: int, now: int, key: bytes) -> bytes:
        """What Protocol.acknowledge gives."""
        return self.encode(Frame("ack", unit, captured_at=now, facts={"cumulative": cumulative, "bitmap": bitmap}), key)

    def _said(self, frame: Frame) -> Mapping[str, Any]:
        if frame.kind in ("state", "event"):
            return frame.reports[0].signals if frame.reports else _NONE
        return frame.facts

    def _unit(self, unit: str) -> bytes:
        raw = bytes.fromhex(unit)
        if len(raw) != 8 or len(unit) != 16:
            raise ValueError(unit)
        if len(self._units) >= LAYOUTS_LIMIT * 16:
            self._units.clear()
        self._units[unit] = raw
        return raw

    def _learn(self, name: Hashable, frame: Frame, said: Mapping[str, Any], key: bytes) -> bytes:
        """Say it the slow way, and see how. Raises ProtocolError, and learns nothing then."""
        data = PROTOCOL.encode(frame, key)
        if len(self._layouts) >= LAYOUTS_LIMIT:
            self._layouts.clear()
        self._layouts[name] = _layout(frame, said, data)
        return data


def _layout(frame: Frame, said: Mapping[str, Any], data: bytes) -> _Layout | None:
    """The packing of a frame and all of its layout; None if it is to be said the slow way."""
    under = _OF_KINDS.get(frame.kind)
    if under is None or any(type(value) is not int for value in said.values()):
        return None
    with watch() as traces:
        try:
            PROTOCOL.decode(data)
        except ProtocolError:  # what can be said need not be understood
            return None
    form, at = "<", 0
    structure: list[bytes] = []
    order: list[int] = []
    names: list[str] = []
    end = len(data) - _TAIL_BYTES
    for leaf in sorted(traces[-1].leaves, key=lambda each: each.offset):
        place = _place(leaf, under, names)
        if place is None or leaf.offset >= end:
            continue
        if leaf.offset > at:
            form += f"{leaf.offset - at}s"
            order.append(-1 - len(structure))
            structure.append(data[at : leaf.offset])
        order.append(place)
        byte_order, letter = order_of(leaf)
        form += f"{leaf.size}s" if letter == "S" else UNPACKED[letter, leaf.size]
        if byte_order != "<":
            return None
        at = leaf.offset + leaf.size
    if at != end or not set(names) <= set(said):
        return None
    values = itemgetter(*names) if len(names) > 1 else (lambda each, name=names[0]: (each[name],)) if names else tuple
    layout = _Layout(struct.Struct(form).pack, tuple(structure), tuple(order), values, len(names))
    header = {leaf.path: leaf.value for leaf in traces[-1].leaves if leaf.path in _HEADER}
    given = tuple(header[name] for name in _HEADER)
    return layout if _packed(layout, given, values(said) if names else ()) == data[:end] else None


def _place(leaf: Leaf, under: str, names: list[str]) -> int | None:
    """Which value a leaf is: of the header, or the next of the frame's own; None: it is structure."""
    if leaf.path in _HEADER:
        return _HEADER.index(leaf.path)
    if not leaf.path.startswith(under):
        return None
    names.append(leaf.path.removeprefix(under))
    return len(_HEADER) + len(names) - 1


def _packed(layout: _Layout, header: tuple[Any, ...], values: tuple[Any, ...]) -> bytes:
    said, structure = (*header, *values), layout.structure
    return layout.pack(*(said[at] if at >= 0 else structure[-1 - at] for at in layout.order))
