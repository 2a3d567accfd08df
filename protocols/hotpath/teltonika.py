"""Teltonika on the hot path: the records of Codec 8, 8 Extended and 16 packets over TCP, whose layout is their IO ids.

The UDP channel and GPRS messages go the slow way.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from protocols.codec import Frame, Report
from protocols.hotpath.binding import Binding, Brief, Clock, Shape, Stretches, Values, order_of, scalars
from protocols.hotpath.framing import CRC_16_ARC, Framing, Guard, GuardKind, SumKind, Window
from protocols.hotpath.plans import Datum, Part, Plan
from protocols.hotpath.rows import Lane, RowForm
from protocols.teltonika import LATITUDE_LIMIT, LONGITUDE_LIMIT, PROTOCOL
from protocols.teltonika_framing import TCP_HEADER_BYTES, TCP_OVERHEAD_BYTES
from protocols.teltonika_layouts import CODEC_8, CODEC_8E, CODEC_16, GROUPS
from protocols.teltonika_session import AVL_SIZES
from protocols.trace import Leaf, Trace

CODECS = (CODEC_8, CODEC_8E, CODEC_16)
RECORDS_AT = TCP_HEADER_BYTES + 2
TRAIL_BYTES = 5
"""Behind the records: the second count and the CRC."""

_RECORD = "data.records."
_FIXED = {
    "timestamp": Lane("timestamp", 8),
    "priority": Lane("priority", 1),
    "longitude": Lane("longitude", 4, "i"),
    "latitude": Lane("latitude", 4, "i"),
    "altitude": Lane("altitude", 2, "i"),
    "angle": Lane("angle", 2),
    "satellites": Lane("satellites", 1),
    "speed": Lane("speed", 2),
    "event_id": Lane("event_id", 2),
    "generation_type": Lane("generation_type", 1),
}
FORM = RowForm(
    (
        *_FIXED.values(),
        *(Lane(f"io_{avl_id}", size) for size, avl_id in sorted((size, avl_id) for avl_id, size in AVL_SIZES.items())),
    )
)

_SAID = ("longitude", "latitude", "altitude", "angle", "satellites", "speed", "priority", "event_id", "generation_type")
_COUNTS = tuple(f"{_RECORD}{group}.count" for group in (*GROUPS, "bytes_x"))


ELEMENTS_LIMIT = 4_000
"""IO elements that have a lane: as many as a row has room for."""


def lanes_for(signals: Collection[str]) -> RowForm:
    """What every record says, and a lane for each of these IO elements, whatever its size is on the wire."""
    elements = sorted(name for name in signals if name not in _FIXED)
    return RowForm((*_FIXED.values(), *(Lane(name, 8) for name in elements[:ELEMENTS_LIMIT])))


def _parts(frame: Frame, traces: Sequence[Trace], data: bytes) -> list[Part] | None:
    facts = frame.facts
    if frame.kind != "state" or facts.get("transport") != "tcp" or not facts["data"]["records"]:
        return None
    leaves = [leaf for leaf in traces[-1].leaves if leaf.path.startswith(_RECORD)]
    starts = [at for at, leaf in enumerate(leaves) if leaf.path == f"{_RECORD}timestamp"]
    ends = [*starts[1:], len(leaves)]
    records = facts["data"]["records"]
    return [_part(leaves[start:end], record, data) for start, end, record in zip(starts, ends, records, strict=True)]


def _part(leaves: Sequence[Leaf], record: Mapping[str, Any], data: bytes) -> Part:
    """A record. The ids before the values are structure; a value is data in the lane of its id."""
    begin, end = leaves[0].offset, leaves[-1].offset + leaves[-1].size
    values: list[Datum] = []
    places: list[int | None] = []
    avl_id = 0
    for leaf in leaves:
        name = leaf.path.removeprefix(_RECORD)
        order, form = order_of(leaf)
        if name.endswith(".id"):
            avl_id = leaf.value
        is_value = name in _FIXED or name.endswith(".value")
        if leaf.path not in _COUNTS:
            places.append(len(values) if is_value else None)
        if is_value:
            lane = name if name in _FIXED else f"io_{avl_id}"
            values = [replace(each, lane="") if each.lane == lane else each for each in values]  # of an id twice, the last counts
            values.append(Datum("" if form == "S" else lane, leaf.offset - begin, leaf.size, form, order, lane))
    there = [leaf.value for leaf in leaves if leaf.path not in _COUNTS]
    assert there == list(scalars(record)), "the leaves are not the record's values in order"
    return Part(begin, data[begin:end], tuple(values), shape=Shape(record, iter(places)))


def _reports(plans: Sequence[Plan], values: Sequence[Values], data: bytes) -> Iterator[Report]:
    at = RECORDS_AT
    for plan, said in zip(plans, values, strict=True):
        signals = dict(zip(plan.names, said, strict=True))
        captured_at = signals.pop("timestamp")
        if abs(signals["longitude"]) > LONGITUDE_LIMIT or abs(signals["latitude"]) > LATITUDE_LIMIT:
            del signals["longitude"], signals["latitude"]
        yield Report(data[at : at + plan.size_bytes], captured_at, signals)
        at += plan.size_bytes


def _frame(plans: Sequence[Plan], values: Sequence[Values], data: bytes) -> Frame:
    reports = tuple(_reports(plans, values, data))
    records = [plan.shape.filled(said) for plan, said in zip(plans, values, strict=True)]
    codec = data[TCP_HEADER_BYTES]
    packet = {"codec": codec, "count": len(records), "records": records, "count_2": len(records)}
    facts = {"transport": "tcp", "codec": codec, "layout": "", "data": packet}
    return Frame("state", captured_at=reports[-1].captured_at, reports=reports, facts=facts)


def _briefs(rows: npt.NDArray[Any], frames: Sequence[bytes], stretches: Stretches) -> Sequence[Brief | None]:
    times = _times(rows).tolist()
    sizes = [0 if plan is None else plan.size_bytes for plan in stretches.plans]
    found = []
    for data, (begin, end) in zip(frames, pairwise(stretches.starts), strict=True):
        at, records = RECORDS_AT, []
        for row in range(begin, end):
            records.append((data[at : at + sizes[row]], times[row]))
            at += sizes[row]
        found.append(Brief("state", None, None, False, records, len(records).to_bytes(4, "big")))
    return found


def _times(rows: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    at: npt.NDArray[np.int64] = rows["timestamp"].astype(np.int64)
    return at


BINDING = Binding(
    PROTOCOL,
    Framing(
        sync_mask=0xFFFFFFFF,
        least_bytes=TCP_OVERHEAD_BYTES + 4,
        length_at=4,
        length_width=4,
        length_big=1,
        length_add=TCP_OVERHEAD_BYTES,
        sum_kind=SumKind.CRC,
        sum_from=TCP_HEADER_BYTES,
        sum_trail=4,
        sum_at=4,
        sum_width=4,
        sum_big=1,
        crc=CRC_16_ARC,
        parts=1,
        count_at=TCP_HEADER_BYTES + 1,
        again_at=TRAIL_BYTES,
        parts_from=RECORDS_AT,
        parts_trail=TRAIL_BYTES,
        context_at=TCP_HEADER_BYTES,
        context_mask=0xFF,
    ),
    FORM,
    windows=(  # how many IO elements, how many of one byte, and what follows: the first one's id, or the next count
        Window(22, 0x0000_FFFF_FF00_0000, CODEC_8),
        Window(24, 0xFFFF_FFFF_FFFF_0000, CODEC_8E),
        Window(24, 0x00FF_FFFF_FF00_0000, CODEC_16),
    ),
    guards=(Guard("timestamp", GuardKind.RANGE, 0, (1 << 63) - 1),),
    parts=_parts,
    frame=_frame,
    times=_times,
    clock=Clock("timestamp", 1),
    briefs=_briefs,
    lanes_for=lanes_for,
)
