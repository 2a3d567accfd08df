"""GB/T 32960.3, both editions: every command, every information type, every field alone at its boundaries and sentinels."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from construct import Array, Rebuild

from bench.conformance.vectors import Bad, Good, Set, expected
from protocols.checksums import bcc
from protocols.codec import Frame, Peer
from protocols.gbt32960 import COMMAND, CONTROL, KINDS, PROTOCOL, QUERY, REALTIME, REISSUE, SET
from protocols.gbt32960_items import CUSTOM_TYPES, ITEMS
from protocols.gbt32960_session import heartbeat, login, logout, time_sync

VIN, AT = "LTELE00P0N0000017", 1_795_446_000_000
PEER = Peer(VIN)
TIME = {"year": 26, "month": 11, "day": 23, "hour": 20, "minute": 20, "second": 0}
ENUMS = {
    "vehicle_state": (1, 2, 3),
    "charge_state": (1, 2, 3, 4),
    "run_mode": (1, 2, 3),
    "dcdc_state": (1, 2),
    "gear": (*range(16), 0x20, 0x10, 0x30, 0x3E),
    "state": (1, 2, 3, 4),
    "fuel_cell_dcdc_state": (1, 2),
    "engine_state": (1, 2),
    "position_status": range(8),
    "coordinate_system": (1, 2, 3),
    "alarm_level": range(4),
}


def _fields(declaration: Any) -> list[tuple[str, Any]]:
    return [(each.name, each.subcon) for each in declaration.subcons if each.name and not isinstance(each.subcon, Rebuild)]


def _is_list(form: Any) -> bool:
    return isinstance(form, Array)


def _zero(declaration: Any) -> dict[str, Any]:
    """A body with every number 0, one element in every list."""
    return {name: [_element(form)] if _is_list(form) else 0 for name, form in _fields(declaration)}


def _element(form: Any) -> Any:
    return _zero(form.subcon) if hasattr(form.subcon, "subcons") else 0


def _bounds(name: str, form: Any) -> tuple[int, ...]:
    top = (1 << 8 * form.sizeof()) - 1
    return tuple(dict.fromkeys((0, 1, *ENUMS.get(name, ()), top - 2, top - 1, top)))


def _bodies(declaration: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field alone at every boundary, every list empty and of two."""
    yield "all zero", _zero(declaration)
    for name, form in _fields(declaration):
        if not _is_list(form):
            for value in _bounds(name, form):
                yield f"{name} = {value}", {**_zero(declaration), name: value}
            continue
        yield f"no {name}", {**_zero(declaration), name: []}
        yield f"two {name}", {**_zero(declaration), name: [_element(form), _element(form)]}
        if hasattr(form.subcon, "subcons"):
            for inner, body in _bodies(form.subcon):
                yield f"{name}: {inner}", {**_zero(declaration), name: [body]}
        else:
            for value in _bounds(name, form.subcon):
                yield f"{name}: {value}", {**_zero(declaration), name: [value]}


def _report(name: str, edition: int, items: Sequence[Mapping[str, Any]], command: int = REALTIME, **more: Any) -> Good:
    body = {"time": TIME, "items": items, **({"signature": None} if edition == 2025 else {}), **more}
    facts = {"edition": edition, "command": command, "flag": COMMAND, "body": body}
    data = PROTOCOL.encode(Frame("state", VIN, facts=facts))
    decoded = PROTOCOL.decode(data)
    for wanted, found in zip(items, decoded.facts["body"]["items"], strict=True):
        assert (
            wanted["body"].items() <= {**found["body"]}.items()
            or "content" in wanted["body"]
            or _within(wanted["body"], found["body"])
        ), name
    shown = [{"type": item["type"], "body": item["body"]} for item in decoded.facts["body"]["items"]]
    return Good(name, data, expected(decoded, {"edition": edition, "command": command, "items": shown}))


def _within(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, Mapping):
        return all(name in found and _within(value, found[name]) for name, value in wanted.items())
    if isinstance(wanted, list):
        return len(wanted) == len(found) and all(map(_within, wanted, found))
    return bool(wanted == found)


def _frame(name: str, frame: Frame) -> Good:
    data = PROTOCOL.encode(frame)
    decoded = PROTOCOL.decode(data)
    facts = {"edition": decoded.facts["edition"], "command": decoded.facts["command"], "flag": decoded.facts["flag"]}
    facts["body"] = {key: value for key, value in decoded.facts["body"].items() if key != "lengths"}
    answer = PROTOCOL.answer(decoded, len(decoded.reports))
    return Good(name, data, expected(decoded, facts | ({"answer": answer} if answer else {})))


def _command(name: str, command: int, body: Mapping[str, Any], *, edition: int = 2016, flag: int = COMMAND) -> Good:
    kind = KINDS.get(command, "custom") if flag == COMMAND else "answer"
    return _frame(name, Frame(kind, VIN, facts={"edition": edition, "command": command, "flag": flag, "body": body}))


def _good() -> Iterator[Good]:
    for sequence in (1, 65_531):
        yield _frame(f"login {sequence}", login(VIN, AT, sequence, "89860012345678901234"))
    yield _frame("login with two batteries", login(VIN, AT, 1, "89860012345678901234", ["AB01", "AB02"]))
    yield _frame("login, minimal: no ICCID, no code", login(VIN, AT, 1))
    yield _frame("logout", logout(VIN, AT, 1))
    yield _frame("heartbeat", heartbeat(VIN))
    yield _frame("time synchronisation", time_sync(VIN))
    yield _command(
        "platform login",
        5,
        {"time": TIME, "sequence": 1, "user": b"platform".ljust(12, b"\0"), "password": bytes(20), "encryption": 1},
    )
    yield _command("platform logout", 6, {"time": TIME, "sequence": 1})
    yield _command("query", QUERY, {"time": TIME, "ids": [1, 2, 16]})
    numbers = [{"id": each, "value": 1} for each in (1, 2, 3, 6, 9, 10, 11, 12, 15, 16)]
    yield _command("set, every number", SET, {"time": TIME, "parameters": numbers})
    yield _command(
        "set, a platform with its length",
        SET,
        {"time": TIME, "parameters": [{"id": 4, "value": 11}, {"id": 5, "value": b"example.org"}]},
    )
    for control in (*range(1, 8), 0x80, 0xFE):
        yield _command(f"control {control:02x}", CONTROL, {"time": TIME, "control": control, "parameters": b""})
    for command in (1, 2, 3, 4):
        for flag in (1, 2, 3):
            yield _command(f"answer {flag:02x} to {command:02x}", command, {"time": TIME}, flag=flag)
    for command in (0xC0, 0xFE):
        yield _command(f"a user's command {command:02x}", command, {"data": b"own"})
    for time in (
        {**TIME, "year": 0, "month": 1, "day": 1, "hour": 0, "minute": 0},
        {**TIME, "year": 99, "month": 12, "day": 31, "hour": 23, "minute": 59, "second": 59},
    ):
        yield _command(f"logout in {2000 + time['year']}", 4, {"time": time, "sequence": 1})
    for edition in (2016, 2025):
        yield _report(f"{edition}: no item", edition, [])
        yield _report(f"{edition}: reissue", edition, [{"type": 1, "body": _zero(ITEMS[edition][1])}], REISSUE)
        for kind, declaration in ITEMS[edition].items():
            if kind in CUSTOM_TYPES:
                continue
            for title, body in _bodies(declaration):
                yield _report(f"{edition}: type {kind:02x}, {title}", edition, [{"type": kind, "body": body}])
        everything = [{"type": kind, "body": _zero(form)} for kind, form in ITEMS[edition].items() if kind not in CUSTOM_TYPES]
        yield _report(f"{edition}, maximal: every information type", edition, everything)
        for kind, content in ((0x80, b""), (0x81, b"own"), (0xFE, bytes(255))):
            yield _report(
                f"{edition}: custom type {kind:02x}, {len(content)} bytes",
                edition,
                [{"type": kind, "body": {"content": content}}],
            )


def _again(data: bytes) -> bytes:
    return data[:-1] + bytes([bcc(data[2:-1])])


def _bad() -> Iterator[Bad]:
    good = _report("", 2016, [{"type": 1, "body": _zero(ITEMS[2016][1])}]).data
    yield Bad("nothing", b"", "truncated")
    for size in (1, 2, 23, 24, len(good) - 1):
        yield Bad(f"cut off after {size} bytes", good[:size], "truncated")
    yield Bad("a start of 24 23", b"$#" + good[2:], "bad_sync")
    yield Bad("a byte too many", good + b"\0", "bad_length")
    for at in (2, 4, 23 + 2, 40, len(good) - 1):
        yield Bad(f"one bit flipped in byte {at}", good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :], "bad_checksum")
    yield Bad("the check character over the start too", good[:-1] + bytes([bcc(good[:-1]) ^ 1]), "bad_checksum")
    yield Bad("command 09 in 2016", _again(good[:2] + b"\x09" + good[3:]), "unsupported")
    yield Bad("flag 04 in 2016", _again(good[:3] + b"\x04" + good[4:]), "malformed")
    yield Bad("a VIN that is no ASCII", _again(good[:4] + b"\x80" + good[5:]), "malformed")
    yield Bad("encryption 00", _again(good[:21] + b"\0" + good[22:]), "unsupported")
    yield Bad("an encrypted report", _again(good[:21] + b"\x03" + good[22:]), "unsupported")
    yield Bad("an unknown information type", _again(good[:30] + b"\x0a" + good[31:]), "unsupported")
    yield Bad("a time in BCD", _again(good[:24] + bytes.fromhex("261123202000") + good[30:]), "malformed")
    yield Bad("month 13", _again(good[:25] + b"\x0d" + good[26:]), "malformed")
    short = good[:22] + (len(good) - 26).to_bytes(2, "big") + good[24:-2] + b"\0"
    yield Bad("an item that is cut off", _again(short), "bad_length")
    beat = PROTOCOL.encode(heartbeat(VIN))
    yield Bad("a heartbeat with a data unit", _again(beat[:22] + b"\0\1\0" + beat[24:]), "bad_length")
    iccid = PROTOCOL.encode(login(VIN, AT, 1, "89860012345678901234"))
    longer = iccid[:22] + (len(iccid) - 24).to_bytes(2, "big") + iccid[24:32] + b"\x14" + iccid[32:]
    yield Bad("a login with a length before its ICCID", _again(longer), "bad_length")
    yield Bad("another vehicle's heartbeat", PROTOCOL.encode(heartbeat("LTELE00P0N0000018")), "identity_mismatch", peer=True)


def vectors() -> Set:
    """All of them."""
    return Set("gbt32960", {"vin": VIN, "time": "Beijing time, UTC+8"}, tuple(_good()), tuple(_bad()), PEER)
