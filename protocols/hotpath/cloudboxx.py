"""CloudBoxx on the hot path: state and event frames, whose layout is their presence bitmap. Other kinds are rare."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from protocols.cloudboxx import (
    CLOCK_UNSYNCHRONISED,
    CRC_SIZE_BYTES,
    FRAME_LIMIT_BYTES,
    OVERHEAD_BYTES,
    PROTOCOL,
    SIGNALS,
    SYNC,
    TYPES,
)
from protocols.codec import Frame, Peer, Report
from protocols.hotpath.binding import Binding, Brief, Clock, Stretches, Values, order_of
from protocols.hotpath.framing import CRC_16_CCITT_FALSE, Framing, Guard, GuardKind, SumKind, Window
from protocols.hotpath.plans import Datum, Part, Plan
from protocols.hotpath.quick import read
from protocols.hotpath.rows import Lane, RowForm
from protocols.seal import SEAL_SIZE_BYTES
from protocols.trace import Trace

KINDS = ("state", "event")
TAIL_BYTES = SEAL_SIZE_BYTES + CRC_SIZE_BYTES
assert FRAME_LIMIT_BYTES > OVERHEAD_BYTES

_HEADER = ("flags", "qnr", "sequence", "captured.seconds", "captured.milliseconds")
_SIGNALS = "body.said.signals."

FORM = RowForm(
    (
        Lane("flags", 1),
        Lane("qnr", 8, "S"),
        Lane("sequence", 4),
        Lane("captured.seconds", 4),
        Lane("captured.milliseconds", 2),
        *(Lane(signal.name, signal.form.sizeof(), "i" if signal.form.fmtstr[-1].islower() else "u") for signal in SIGNALS),
    )
)


def _parts(frame: Frame, traces: Sequence[Trace], data: bytes) -> list[Part] | None:
    if frame.kind not in KINDS:
        return None
    values, free = [], []
    for leaf in traces[-1].leaves:
        order, form = order_of(leaf)
        if leaf.path in ("seal", "crc"):
            free.append((leaf.offset, leaf.size))
        elif leaf.path in _HEADER or leaf.path.startswith(_SIGNALS):
            name = leaf.path.removeprefix(_SIGNALS)
            values.append(Datum(name, leaf.offset, leaf.size, form, order))
    return [Part(0, data, tuple(values), tuple(free))]


def _frame(plans: Sequence[Plan], values: Sequence[Values], data: bytes) -> Frame:
    (plan,), (said,) = plans, values
    flags, qnr, sequence, seconds, milliseconds = said[:5]
    signals = dict(zip(plan.names[5:], said[5:], strict=True))
    at = seconds * 1000 + milliseconds
    facts = {
        "flags": flags,
        "clock_unsynchronised": bool(flags & CLOCK_UNSYNCHRONISED),
        "oldest_sequence": signals.get("oldest_sequence"),
    }
    record = data[2:3] + data[12:-TAIL_BYTES]
    return Frame(TYPES[data[2]], qnr.hex().upper(), sequence, at, (Report(record, at, signals, sequence),), facts)


def _aside(data: bytes, peer: Peer | None) -> Frame | None:
    return None if TYPES.get(data[2]) in KINDS else read(data, peer)


def _times(rows: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    at: npt.NDArray[np.int64] = rows["captured.seconds"].astype(np.int64) * 1000 + rows["captured.milliseconds"]
    return at


def _briefs(rows: npt.NDArray[Any], frames: Sequence[bytes], _: Stretches) -> Sequence[Brief | None]:
    present = rows["present"].reshape(len(rows), -1)[:, 0]
    oldest, has_oldest = rows["oldest_sequence"].tolist(), (present >> FORM.bits["oldest_sequence"] & 1).tolist()
    flags, sequences, times = rows["flags"].tolist(), rows["sequence"].tolist(), _times(rows).tolist()
    columns = zip(frames, flags, sequences, times, oldest, has_oldest, strict=True)
    return [
        Brief(
            TYPES.get(data[2], "") if len(data) > TAIL_BYTES else "",
            sequence,
            before if has else None,
            bool(flag & CLOCK_UNSYNCHRONISED),
            ((data[2:3] + data[12:-TAIL_BYTES], at),),
        )
        for data, flag, sequence, at, before, has in columns
    ]


BINDING = Binding(
    PROTOCOL,
    Framing(
        sync_mask=0xFFFF,
        sync=int.from_bytes(SYNC, "little"),
        least_bytes=OVERHEAD_BYTES + 8,
        length_at=22,
        length_width=2,
        length_add=OVERHEAD_BYTES,
        sum_kind=SumKind.CRC,
        sum_trail=CRC_SIZE_BYTES,
        sum_at=CRC_SIZE_BYTES,
        sum_width=CRC_SIZE_BYTES,
        crc=CRC_16_CCITT_FALSE,
        tag_size=SEAL_SIZE_BYTES,
        tag_trail=CRC_SIZE_BYTES,
    ),
    FORM,
    windows=(Window(24, (1 << 64) - 1),),  # the presence bitmap,
    guards=(Guard("captured.milliseconds", GuardKind.RANGE, 0, 999),),
    parts=_parts,
    frame=_frame,
    times=_times,
    aside=_aside,
    clock=Clock("captured.seconds", 1000, "captured.milliseconds"),
    briefs=_briefs,
    unit_lane="qnr",
    unit_bytes=bytes.fromhex,
)
