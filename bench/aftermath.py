"""After a run: which frames the gateway refused and why, and whether it shows the vehicles as they are."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import modeldb
from bench.account import Account, Added
from bench.ledger import Ledger
from bench.source import Source
from bench.truth import Difference, Truth
from protocols import load
from protocols.codec import ProtocolError, UnitId

QUARANTINE_LIMIT = 10_000
CLOUDBOXX_SEQUENCE = slice(12, 16)
DIFFERENCES_SHOWN = 200
AGAIN_FOR_S, AGAIN_S = 5.0, 0.5


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


async def truth_of(account: Account, added: Sequence[Added], source: Source) -> Truth:
    """The truth check: every supported property of every vehicle beside what the gateway shows. Raises AccountError.

    Where units have no vehicles behind them, what they reported last stands for it. What was just confirmed may be on its way to
    the API: it is looked at again for a few seconds before it counts.
    """
    give_up = time.monotonic() + AGAIN_FOR_S
    while True:
        items = {item["vehicle_id"]: item["vehicle_state"] async for item in account.pages("/latest-vehicle-states")}
        shown = {name: {key: said["value"] for key, said in state.items()} for name, state in items.items()}
        found = source.truth(shown) or _as_reported(added, source.last_frames(), items)
        if not found.different or time.monotonic() >= give_up:
            return found
        await asyncio.sleep(AGAIN_S)


def _as_reported(added: Sequence[Added], last_frames: Mapping[int, bytes], items: Mapping[str, Mapping[str, Any]]) -> Truth:
    """What the gateway shows otherwise than the units said it last."""
    differences, compared = [], 0
    for place, data in last_frames.items():
        each = added[place]
        said, at_ms = _reported(each, data)
        state = items.get(each.record.vehicle_id or "", {})
        for key, value in said.items():
            shown = state.get(key)
            compared += 1
            if shown is None or (shown["value"] != value and not _is_newer(shown["timestamp"], at_ms)):
                gateway = None if shown is None else shown["value"]
                differences.append(Difference(unit=str(each.record.unit), key=key, truth=value, gateway=gateway))
    return Truth(compared=compared, differences=tuple(differences))


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
