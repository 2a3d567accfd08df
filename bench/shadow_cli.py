"""What `teleloop replay --old-rules A --new-rules B` says."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.record_cli import console
from bench.recording import Recording
from bench.shadow import Comparison, Models, Shadow, as_document, configurations, find_model, rules
from devices.unitsfile import UnitRecord
from modeldb.database import Database
from protocols.codec import UnitId

FAILED = 1
PIPE_WIDTH = 200


def shadow(
    recording: Recording,
    old_rules: Path | None,
    new_rules: Path | None,
    records: Mapping[UnitId, UnitRecord],
    model: str | None,
    only: Sequence[UnitId],
    as_json: bool,
) -> int:
    """Compare and say so; the exit code: 1 where anything differs. Raises ModelError, OSError, RecordingError and ValueError."""
    old, new = rules(old_rules), rules(new_rules)
    run = Shadow(old, new, _models(recording, records, model, old, new))
    with console.status("comparing") as line:
        for done in run.run(recording, only):
            line.update(f"comparing: {done:,} messages")
    found = run.found
    if not found.reports and not found.unknown:
        raise ValueError("there is nothing to compare: no unit reported anything in this recording")
    if not found.reports:
        raise ValueError(
            "no unit's model is known under both sets of rules: say --model for all, name a units file (--units), "
            "or record beside the gateway's data folder"
        )
    for error in recording.damage:
        console.print(f"from byte {error.offset} of the recording: {error.found or error.reason}; it is left out")
    if as_json:
        sys.stdout.write(json.dumps(as_document(found, {**new.models, **old.models}), ensure_ascii=False) + "\n")
    else:
        _print(found)
    return FAILED if found.differences else 0


def _models(
    recording: Recording, records: Mapping[UnitId, UnitRecord], model: str | None, old: Database, new: Database
) -> Models:
    told: dict[UnitId, str] = {}
    said = recording.about.get("models")
    for name, known in (said if isinstance(said, dict) else {}).items():
        brand, _, unit = str(name).partition("/")
        told[UnitId(brand, unit)] = str(known)
    told |= {unit: record.vehicle_model_id for unit, record in records.items()}
    everyone = None if model is None else find_model(old, model).id
    return Models(told, everyone, configurations((old, new)))


def _print(found: Comparison) -> None:
    out = Console(highlight=False, markup=False, emoji=False)
    if not out.is_terminal:
        out.width = PIPE_WIDTH
    if found.differences:
        table = Table("model", "units", "property", "reports", "first at", "unit", "old", "new", "rule", box=None, pad_edge=False)
        table.columns[3].justify = "right"
        for each in sorted(found.differences.values(), key=lambda each: (each.model, each.brand, each.property)):
            cells = (each.model, each.brand, each.property, f"{each.reports:,}", _at(each.at_ms), each.unit)
            rule = each.old_rule if each.old_rule == each.new_rule else f"{each.old_rule} -> {each.new_rule}"
            table.add_row(*(Text(cell) for cell in (*cells, _shown(each.old), _shown(each.new), rule)))
        out.print(table)
    out.print(
        f"{found.reports.total():,} reports of {len(found.reports)} models compared, "
        f"{found.differing_reports:,} differ in {len(found.differences)} properties"
    )
    if found.unknown:
        console.print(
            f"{found.unknown.total():,} frames of {len(found.unknown)} units left out: their models are not known", soft_wrap=True
        )
    if found.unreadable:
        console.print(f"{found.unreadable:,} frames left out: they cannot be read")


def _at(at_ms: int | None) -> str:
    return "" if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _shown(value: object) -> str:
    return "(nothing)" if value is None else value if isinstance(value, str) else json.dumps(value)
