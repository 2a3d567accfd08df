"""A Memory as bytes and back: MessagePack, fields by name, so that a later gateway reads what an earlier one wrote."""

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.memory import Memory, Recorded, Snapshot, Window
from protocols.hotpath.told import Values


class _Packed(msgspec.Struct, omit_defaults=True):
    cumulative: int = 0
    bitmap: bytes = b""  # 4,096 bits are more than MessagePack's integers hold
    order: int | None = None
    state: Mapping[str, Recorded] = {}
    generation: int | None = None
    recent: tuple[int, ...] = ()
    trip: Any = None
    snapshot: tuple[dict[str, Any] | bytes, int, int] | None = None
    """Instead of `state`, where all of it is of one moment: the values, which may be in JSON, when, and in what order."""


COLUMNS = ("online", "online_changed_at", "last_contact_at", "firmware", "facts")
"""The columns of table `memories` that `columns` fills."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Packed)


def packed(memory: Memory) -> bytes:
    """Everything of `memory` that has no column of its own."""
    window, state = memory.window, memory.state
    whole = state if isinstance(state, Snapshot) else None
    return _encoder.encode(
        _Packed(
            window.cumulative,
            window.bitmap.to_bytes((window.bitmap.bit_length() + 7) // 8, "little") if window.bitmap else b"",
            memory.order,
            {} if whole is not None else state if type(state) is dict else dict(state),
            memory.generation,
            memory.recent,
            dict(memory.trip) if isinstance(memory.trip, Mapping) else memory.trip,
            None if whole is None else (_plain(whole.values_by_key), whole.at, whole.order),
        )
    )


def _plain(values: Mapping[str, Any]) -> dict[str, Any] | bytes:
    if type(values) is Values:
        return values.text
    return values if type(values) is dict else dict(values)


def _snapshot(values: dict[str, Any] | bytes, at: int, order: int) -> Snapshot:
    return Snapshot(Values(values) if isinstance(values, bytes) else values, at, order)


def unpacked(facts: bytes | None, row: Mapping[str, Any]) -> Memory:
    """The Memory that was packed; `row` has the columns beside it. None: nothing was heard yet."""
    if facts is None:
        return Memory(replacements=row["replacements"])
    said = _decoder.decode(facts)
    return Memory(
        Window(said.cumulative, int.from_bytes(said.bitmap, "little")),
        said.order,
        said.state if said.snapshot is None else _snapshot(*said.snapshot),
        row["last_contact_at"],
        row["firmware"],
        row["online"],
        row["online_changed_at"],
        said.generation,
        said.recent,
        said.trip,
        row["replacements"],
    )


def columns(memory: Memory) -> dict[str, Any]:
    """The columns of table `memories` that say `memory`."""
    return dict(zip(COLUMNS, row_of("", memory)[1:], strict=True))


def row_of(vehicle_id: str, memory: Memory) -> tuple[Any, ...]:
    """A row of table `memories`: the vehicle, and COLUMNS."""
    return (
        vehicle_id,
        memory.online,
        memory.online_changed_at,
        memory.last_contact_at,
        memory.firmware,
        packed(memory),
    )
