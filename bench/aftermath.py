"""After a run: which frames the gateway refused and why, and whether it shows what the units reported last."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import modeldb
from bench.account import Account, Added
from bench.ledger import Ledger
from protocols import load
from protocols.codec import ProtocolError, UnitId

QUARANTINE_LIMIT = 10_000
CLOUDBOXX_SEQUENCE = slice(12, 16)
DIFFERENCES_SHOWN = 200


async def refusals(account: Account, added: Sequence[Added], ledger: Ledger) -> Counter[str]:
    """Refused frames of these units by reason; the ledger learns which of its frames they were. Raises AccountError."""
    ours = {each.record.unit for each in added}
    reasons: Counter[str] = Counter()
    looked_at = 0
    async for entry in account.pages("/quarantine"):
        looked_at += 1
        unit = UnitId(entry["telematics_unit"]["brand"], entry["telematics_unit"]["id"])
        if unit in ours:
            reasons[entry["reason"]] += 1
            data = bytes.fromhex(entry["data"])
            if len(data) >= CLOUDBOXX_SEQUENCE.stop:
                ledger.explain_unseen(unit, int.from_bytes(data[CLOUDBOXX_SEQUENCE], "little"), entry["reason"])
        if looked_at >= QUARANTINE_LIMIT:
            break
    return reasons


async def different_values(
    account: Account, added: Sequence[Added], last_frames: Mapping[int, bytes]
) -> tuple[list[dict[str, object]], int]:
    """What the gateway shows otherwise than the units said it last, and how many values were compared. Raises AccountError."""
    wanted = {added[place].record.vehicle_id: (added[place], data) for place, data in last_frames.items()}
    different: list[dict[str, object]] = []
    compared = 0
    async for item in account.pages("/latest-vehicle-states"):
        if item["vehicle_id"] not in wanted:
            continue
        each, data = wanted[item["vehicle_id"]]
        said, at_ms = _reported(each, data)
        for key, value in said.items():
            shown = item["vehicle_state"].get(key)
            compared += 1
            if shown is None or (shown["value"] != value and not _is_newer(shown["timestamp"], at_ms)):
                different.append({"vehicle_id": item["vehicle_id"], "property": key, "reported": value, "shown": shown})
    return different[:DIFFERENCES_SHOWN], compared


def _reported(each: Added, data: bytes) -> tuple[dict[str, Any], int]:
    database, record = modeldb.load(), each.record
    protocol = load()[database.brands[record.brand].protocol]
    translation = database.models[record.vehicle_model_id].units[record.brand]
    for cut in protocol.split(data):
        try:
            frame = protocol.decode(cut.data)
        except ProtocolError:
            continue
        if frame.reports:
            report = frame.reports[-1]
            return dict(translation.translate(report.signals)), report.captured_at or 0
    return {}, 0


def _is_newer(timestamp: str, at_ms: int) -> bool:
    return datetime.fromisoformat(timestamp).timestamp() * 1000 > at_ms + 0.5
