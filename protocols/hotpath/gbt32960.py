"""GB/T 32960.3 on the hot path: reports in plain text, whose layout is their information types, counts and indices.

What the rows cannot say goes the slow way: signed reports, positions that are invalid or in the south or west (their sign stands
in another byte), coordinates in GCJ-02.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from protocols import gbt32960 as declared
from protocols.checksums import bcc
from protocols.codec import Frame, Report
from protocols.gbt32960 import COMMAND, KINDS, OK, PLAIN, PROTOCOL, REISSUE, unix_ms
from protocols.gbt32960_framing import EDITIONS, OVERHEAD_BYTES
from protocols.gbt32960_layouts import HEADER_SIZE_BYTES, VIN_SIZE_BYTES
from protocols.gbt32960_signals import (
    EXTENSION_MAGIC,
    EXTENSION_SIGNALS,
    EXTENSION_SIZE_BYTES,
    EXTENSION_TYPE,
    LATITUDE_LIMIT,
    LONGITUDE_LIMIT,
    SIZES,
    signals,
)
from protocols.hotpath.binding import Binding, Brief, Shape, Stretches, Values, scalars
from protocols.hotpath.framing import Framing, Guard, GuardKind, SumKind, Window
from protocols.hotpath.plans import Datum, Part, Plan
from protocols.hotpath.rows import Bits, Lane, RowForm
from protocols.trace import Trace

TIME = ("year", "month", "day", "hour", "minute", "second")
MOTORS = 4
"""Motors that have lanes; those of further ones are in the Frame only."""

_STRUCTURE = ("type", "index", "length", "position_status")
_ALL_MEAN = ("alarm_flags", *(signal.name for signal in EXTENSION_SIGNALS if signal.states))
_ITEMS = (0x01, 0x03, 0x04, 0x05, 0x06, 0x07)
_GEAR = "gear_byte"
_PREFIXES = {0x02: "motor", 0x08: "battery", 0x09: "battery"}


def _lane(name: str, size_bytes: int) -> Lane:
    return Lane(name, size_bytes, "u", None if name in _ALL_MEAN else (1 << 8 * size_bytes) - 2)


def _lanes() -> Iterator[Lane]:
    yield Lane("vin", VIN_SIZE_BYTES, "S")
    yield from (Lane(name, 1) for name in TIME)
    for kind in _ITEMS:
        for name, size_bytes in SIZES[2016, kind].items():
            if not name.endswith(("_count", "_faults", "temperatures")) and name not in _STRUCTURE:
                yield _lane(_GEAR if name == "gear" else name, size_bytes)
    for index in range(1, MOTORS + 1):
        for name, size_bytes in SIZES[2016, 0x02].items():
            if name.startswith("motors.") and not name.endswith((".index", "_count")):
                yield _lane(name.replace("motors.", f"motor_{index}_"), size_bytes)
    yield from (_lane(signal.name, signal.form.sizeof()) for signal in EXTENSION_SIGNALS)


FORM = RowForm(
    tuple(_lanes()),
    {"gear": Bits(_GEAR, 0, 0x0F), "driving_force": Bits(_GEAR, 5, 1), "braking_force": Bits(_GEAR, 4, 1)},
)


@dataclass(frozen=True, slots=True)
class _Body:
    """A report's body without its values. `contents`: of which items the content stands where (index, offset, size)."""

    shape: Shape
    contents: tuple[tuple[int, int, int], ...]


def _parts(frame: Frame, traces: Sequence[Trace], data: bytes) -> list[Part] | None:
    facts = frame.facts
    if frame.kind != "state" or facts["edition"] != 2016 or facts["flag"] != COMMAND:
        return None
    body, leaves = facts["body"], traces[1].leaves
    assert [leaf.value for leaf in leaves] == list(scalars(body)), "the leaves are not the body's values in order"
    values = [Datum("vin", 4, VIN_SIZE_BYTES, "S", ">")]
    places: list[int | None] = []
    contents: list[tuple[int, int, int]] = []
    item, kind, prefix = -1, 0, ""
    for leaf in leaves:
        name, offset = leaf.path.rpartition(".")[2], leaf.offset + HEADER_SIZE_BYTES
        places.append(None)
        if leaf.path == "items.type":
            item, kind, prefix = item + 1, leaf.value, ""
        elif name == "index":
            prefix = f"{_PREFIXES[kind]}_{leaf.value}_"
        elif name == "position_status" and leaf.value:
            return None
        elif name == "content":
            if kind == EXTENSION_TYPE and leaf.value.startswith(EXTENSION_MAGIC) and leaf.size == EXTENSION_SIZE_BYTES:
                contents.append((item, offset, leaf.size))
                values += _extension(offset)
        elif name not in _STRUCTURE and not name.endswith("_count"):
            places[-1] = len(values)
            lane = prefix + (_GEAR if name == "gear" else name)
            values.append(Datum(lane, offset, leaf.size, "u", ">"))
    named = [each.lane for each in values if each.lane in FORM.by_name]
    if len(named) != len(set(named)):
        return None  # which of two says more, only their values tell
    return [Part(0, data, tuple(values), ((len(data) - 1, 1),), _Body(Shape(body, iter(places)), tuple(contents)))]


def _extension(offset: int) -> Iterator[Datum]:
    offset += len(EXTENSION_MAGIC)
    for signal in EXTENSION_SIGNALS:
        yield Datum(signal.name, offset, signal.form.sizeof(), "u", ">")
        offset += signal.form.sizeof()


def _frame(plans: Sequence[Plan], values: Sequence[Values], data: bytes) -> Frame:
    (plan,), (said,) = plans, values
    body = plan.shape.shape.filled(said)
    for item, offset, size in plan.shape.contents:
        body["items"][item]["body"]["content"] = data[offset : offset + size]
    time, command, content = body["time"], data[2], data[HEADER_SIZE_BYTES:-1]
    at = unix_ms(time)
    facts = {
        "edition": EDITIONS[data[:2]],
        "command": command,
        "flag": data[3],
        "encryption": data[21],
        "reissued": command == REISSUE,
        "body": body,
    }
    unit = said[0].rstrip(b"\0").decode("ascii") or None
    return Frame(KINDS[command], unit, None, at, (Report(content, at, signals(body["items"], 2016)),), facts)


def _briefs(rows: npt.NDArray[Any], frames: Sequence[bytes], _: Stretches) -> Sequence[Brief | None]:
    return [
        Brief(KINDS.get(data[2], ""), None, None, False, ((data[HEADER_SIZE_BYTES:-1], at),), _answer(data))
        if len(data) > HEADER_SIZE_BYTES
        else None
        for data, at in zip(frames, _times(rows).tolist(), strict=True)
    ]


def _answer(data: bytes) -> bytes:
    """The report's own head, that it is held, and its time."""
    time = data[HEADER_SIZE_BYTES : HEADER_SIZE_BYTES + len(TIME)]
    said = b"%b%c%b%c%b%b" % (data[2:3], OK, data[4 : 4 + VIN_SIZE_BYTES], PLAIN, len(time).to_bytes(2, "big"), time)
    return b"%b%b%c" % (data[:2], said, bcc(said))


def _times(rows: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Beijing time is UTC+8, without summer time since 1991."""
    years = (rows["year"].astype(np.int64) + 30).astype("datetime64[Y]")
    days = (years.astype("datetime64[M]") + (rows["month"].astype(np.int64) - 1)).astype("datetime64[D]").astype(np.int64)
    ahead = (declared.BEIJING.utcoffset(None) or timedelta()) // timedelta(hours=1)
    hours = (days + rows["day"] - 1) * 24 + rows["hour"] - ahead
    at: npt.NDArray[np.int64] = ((hours * 60 + rows["minute"]) * 60 + rows["second"]) * 1000
    return at


BINDING = Binding(
    PROTOCOL,
    Framing(
        least_bytes=OVERHEAD_BYTES + len(TIME),
        length_at=22,
        length_width=2,
        length_big=1,
        length_add=OVERHEAD_BYTES,
        sum_kind=SumKind.XOR,
        sum_from=2,
        sum_trail=1,
        sum_at=1,
        sum_width=1,
    ),
    FORM,
    windows=(Window(23, 0xFF << 56), Window(0, 0xFFFFFFFF)),
    guards=(
        Guard("vin", GuardKind.TEXT),
        Guard("year", GuardKind.DATE),
        Guard("hour", GuardKind.RANGE, 0, 23),
        Guard("minute", GuardKind.RANGE, 0, 59),
        Guard("second", GuardKind.RANGE, 0, 59),
        Guard("longitude", GuardKind.RANGE, 0, LONGITUDE_LIMIT),
        Guard("latitude", GuardKind.RANGE, 0, LATITUDE_LIMIT),
    ),
    parts=_parts,
    frame=_frame,
    times=_times,
    briefs=_briefs,
    unit_lane="vin",
)
