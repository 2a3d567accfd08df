"""A GB/T 32960.3 unit's own words (2016): frames of a session, and reports made of flat signals.

What the server answers is read with PROTOCOL.decode: `kind` "answer", `facts` "command" and "flag".
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from protocols.codec import Frame, ProtocolError
from protocols.gbt32960 import (
    COMMAND,
    CONTROL,
    ENVELOPE_CONTROL,
    HEARTBEAT,
    KINDS,
    LOGIN,
    LOGOUT,
    OK,
    REALTIME,
    REISSUE,
    TIME_SYNC,
    time_fields,
)
from protocols.gbt32960_signals import (
    BRAKING_FORCE,
    DRIVING_FORCE,
    EXTENSION_SIGNALS,
    EXTENSION_TYPE,
    POSITION_INVALID,
    SIZES,
    SOUTH,
    WEST,
    extension,
)

SEQUENCE_LIMIT = 65_531
"""The highest login sequence number; the first of a day is 1."""

CELLS_LIMIT = 200
"""Cell voltages in one frame (table B.6); a battery of more takes several frames."""


def login(unit: str, at: int, sequence: int, iccid: str = "", codes: Sequence[str] = ()) -> Frame:
    """The first frame of a session. `at` is Unix ms; `codes` are those of the batteries, all of one length."""
    body = {
        "time": time_fields(at),
        "sequence": sequence,
        "iccid": iccid.encode("ascii")[:20].ljust(20, b"\0"),
        "codes": [code.encode("ascii") for code in codes],
    }
    return _frame(LOGIN, unit, at, body)


def logout(unit: str, at: int, sequence: int) -> Frame:
    """The last frame of a session, with the sequence number of its login."""
    return _frame(LOGOUT, unit, at, {"time": time_fields(at), "sequence": sequence})


def heartbeat(unit: str) -> Frame:
    """A sign of life."""
    return _frame(HEARTBEAT, unit, None, {})


def time_sync(unit: str) -> Frame:
    """The question what time it is."""
    return _frame(TIME_SYNC, unit, None, {})


def report(unit: str, at: int, signals: Mapping[str, Any]) -> Frame:
    """A realtime report of flat signals, named as decode names them."""
    return _frame(REALTIME, unit, at, {"time": time_fields(at), "items": items(signals)})


def reissued(frame: Frame) -> Frame:
    """The same report again after lost coverage: the same captured data under the reissue command."""
    return replace(frame, facts={**frame.facts, "command": REISSUE, "reissued": True})


def result(unit: str, at: int, envelope: bytes) -> Frame:
    """The answer to a control command that carried a command envelope: the response envelope, in the same place."""
    body = {"time": time_fields(at), "control": ENVELOPE_CONTROL, "parameters": envelope}
    frame = _frame(CONTROL, unit, at, body)
    return replace(frame, kind="result", facts={**frame.facts, "flag": OK, "envelope": envelope})


def _frame(command: int, unit: str, at: int | None, body: Mapping[str, Any]) -> Frame:
    facts = {"edition": 2016, "command": command, "flag": COMMAND, "body": body}
    return Frame(KINDS[command], unit, captured_at=at if at is None else at // 1000 * 1000, facts=facts)


# Signals to items: the inverse of gbt32960_signals.signals -------------------------------------------------------------

_EXTENDED = frozenset(signal.name for signal in EXTENSION_SIGNALS)


def items(signals: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The information items that say these signals; fields not given are invalid. Raises ProtocolError("malformed") for
    a signal that no item has."""
    left = dict(signals)
    said = [*_vehicle(left), *_numbered(left, 0x02, "motors", "motor"), *_fixed(left, 0x03), *_fixed(left, 0x04)]
    said += [*_position(left), *_fixed(left, 0x06), *_fixed(left, 0x07), *_batteries(left), *_custom(left)]
    if left:
        raise ProtocolError("malformed", 0, "signals", found=", ".join(sorted(left)))
    return said


def _item(kind: int, body: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": kind, "body": body}


def _filled(kind: int, path: str, names: Iterable[str], said: Mapping[str, Any]) -> dict[str, Any]:
    """A body with each of the fields, invalid where nothing is said; lists are empty, bits are clear."""
    body: dict[str, Any] = {}
    for name in names:
        size_bytes = SIZES[2016, kind][path + name]
        invalid = (1 << 8 * size_bytes) - 1
        if name.endswith(("_faults", "_voltages", "_temperatures")) or name == "temperatures":
            body[name] = [invalid if one is None else one for one in said.get(name, ())]
        else:
            body[name] = said.get(name, 0 if name == "alarm_flags" else invalid)
    return body


def _fields(kind: int, path: str = "") -> list[str]:
    names = (name for name in SIZES[2016, kind] if name.startswith(path))
    return [name[len(path) :] for name in names if not name.endswith("_count") and "." not in name[len(path) :]]


def _fixed(left: dict[str, Any], kind: int) -> list[dict[str, Any]]:
    names = _fields(kind)
    said = {name: left.pop(name) for name in names if name in left}
    return [_item(kind, _filled(kind, "", names, said))] if said else []


def _vehicle(left: dict[str, Any]) -> list[dict[str, Any]]:
    driving, braking = left.pop("driving_force", 0), left.pop("braking_force", 0)
    if "gear" in left:
        left["gear"] = left["gear"] | (DRIVING_FORCE if driving else 0) | (BRAKING_FORCE if braking else 0)
    return _fixed(left, 0x01)


def _position(left: dict[str, Any]) -> list[dict[str, Any]]:
    given = {"longitude", "latitude", "position_status"} & left.keys()
    longitude, latitude = left.pop("longitude", None), left.pop("latitude", None)
    status = left.pop("position_status", 0) & ~(SOUTH | WEST)
    if longitude is None or latitude is None:
        body = {"position_status": status | POSITION_INVALID, "longitude": 0xFFFFFFFF, "latitude": 0xFFFFFFFF}
        return [_item(0x05, body)] if given else []
    status |= (WEST if longitude < 0 else 0) | (SOUTH if latitude < 0 else 0)
    return [_item(0x05, {"position_status": status, "longitude": abs(longitude), "latitude": abs(latitude)})]


def _rows(left: dict[str, Any], prefix: str, names: Iterable[str]) -> dict[int, dict[str, Any]]:
    """Signals `{prefix}_{index}_{name}`, taken out and put together by index."""
    rows: dict[int, dict[str, Any]] = {}
    known = set(names)
    for signal in [name for name in left if name.startswith(f"{prefix}_")]:
        index, _, name = signal[len(prefix) + 1 :].partition("_")
        if index.isdecimal() and name in known:
            rows.setdefault(int(index), {})[name] = left.pop(signal)
    return dict(sorted(rows.items()))


def _numbered(left: dict[str, Any], kind: int, field: str, prefix: str) -> list[dict[str, Any]]:
    path = f"{field}."
    names = [name for name in _fields(kind, path) if name != "index"]
    rows = _rows(left, prefix, names)
    elements = [{"index": index} | _filled(kind, path, names, row) for index, row in rows.items()]
    return [_item(kind, {field: elements})] if elements else []


def _batteries(left: dict[str, Any]) -> list[dict[str, Any]]:
    voltages = _numbered(left, 0x08, "batteries", "battery")
    for battery in voltages[0]["body"]["batteries"] if voltages else ():
        if len(battery["cell_voltages"]) > CELLS_LIMIT:
            expected = f"at most {CELLS_LIMIT} in one frame"
            raise ProtocolError("malformed", 0, "cell_voltages", expected=expected, found=str(len(battery["cell_voltages"])))
    return voltages + _numbered(left, 0x09, "batteries", "battery")


def _custom(left: dict[str, Any]) -> list[dict[str, Any]]:
    ours = {name: left.pop(name) for name in _EXTENDED if name in left}
    said = [_item(EXTENSION_TYPE, {"content": extension(ours)})] if ours else []
    for name in [name for name in left if name.startswith("custom_")]:
        said.append(_item(int(name[7:], 16), {"content": left.pop(name)}))
    return said
