"""What the uplink tests share: a vehicle, its keys, and frames that its unit could have sent."""

from collections.abc import Mapping
from typing import Any

import modeldb
from gateway.memory import Memory, Vehicle
from gateway.receipts import Receipt, Telegram
from gateway.uplink import receive
from protocols import load
from protocols.codec import Frame, Report, UnitId
from protocols.keys import UnitKeys, brand_key, unit_keys

NOW = 1_795_446_000_000
UNIT = UnitId("CLOUDBOXX", "0123456789ABCDEF")
DATABASE = modeldb.load()
BRAND = DATABASE.brands["CLOUDBOXX"]
MODEL = next(model for model in DATABASE.available("CLOUDBOXX") if "central_lock" in model.units["CLOUDBOXX"].state_keys)
VEHICLE = Vehicle("A2B3C", "fleet1", UNIT, BRAND, MODEL)
CLOUDBOXX = load()["cloudboxx"]
KEYS = unit_keys(brand_key(bytes(32), "CLOUDBOXX"), 1, UNIT.telematics_unit_id)


def signals(**state: Any) -> dict[str, int | float]:
    """The raw signals that say `state`."""
    return MODEL.units["CLOUDBOXX"].invert(state)


def frame(
    sequence: int, kind: str = "state", at: int = NOW, keys: UnitKeys = KEYS, oldest: int | None = None, **state: Any
) -> bytes:
    """A frame of the unit that reports `state`."""
    said: dict[str, int | float] = signals(**state)
    if oldest is not None:
        said["oldest_sequence"] = oldest
    report = Report(b"", None, said)
    return CLOUDBOXX.encode(Frame(kind, UNIT.telematics_unit_id, sequence, at, (report,), {"flags": 0}), keys.seal)


def other(kind: str, sequence: int, facts: Mapping[str, Any], at: int = NOW) -> bytes:
    """A frame of the unit without a report."""
    return CLOUDBOXX.encode(Frame(kind, UNIT.telematics_unit_id, sequence, at, facts={"flags": 0, **facts}), KEYS.seal)


def hear(
    payload: bytes,
    memory: Memory = Memory(),  # noqa: B008 - frozen
    vehicle: Vehicle | None = VEHICLE,
    unit: UnitId = UNIT,
    keys: tuple[UnitKeys, ...] = (KEYS,),
    flows: Mapping[int, str] | None = None,
    at: int = NOW,
) -> Receipt:
    """What the gateway makes of a payload."""
    return receive(Telegram(unit, payload, at), vehicle, memory, CLOUDBOXX, keys, lambda _, counter: (flows or {}).get(counter))
