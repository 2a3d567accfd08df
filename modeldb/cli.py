"""`teleloop models`: list, check and explain the model database."""

import json
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from modeldb.check import check
from modeldb.database import Database, load
from modeldb.document import ModelError
from modeldb.explain import explain, unread
from modeldb.model import VehicleModel

FAILED, USAGE = 1, 2
PIPE_WIDTH = 200
"""Columns of a table that no terminal bounds: the longest rule in a line or two."""

app = typer.Typer()
models = typer.Typer(no_args_is_help=True, help="The model database: what vehicles can say and do, and by which rules.")
app.add_typer(models, name="models")

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def _stop(sentence: str, code: int) -> NoReturn:
    typer.echo(sentence, err=True)
    raise typer.Exit(code)


def _database() -> Database:
    try:
        return load()
    except ModelError as error:
        _stop(str(error), USAGE)


def _known_brand(database: Database, brand: str) -> None:
    if brand not in database.brands:
        _stop(f"no brand {brand}; there are {', '.join(database.brands)}", USAGE)


def _print_json(document: Any) -> None:
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


def _print(table: Table) -> None:
    console = Console(markup=False, emoji=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    console.print(table)


def _shown(model: VehicleModel) -> dict[str, Any]:
    ended = model.end_of_production
    return {
        "id": model.id,
        "brand": model.make,
        "name": model.name,
        "type": model.type,
        "start_of_production": model.start_of_production.isoformat(),
        "end_of_production": ended.isoformat() if ended else None,
        "regions": list(model.regions),
        "version": model.version,
        "telematics_brands": {
            name: {"vehicle_state": [key.upper() for key in sorted(unit.state_keys)], "commands": list(unit.commands)}
            for name, unit in model.units.items()
        },
    }


@models.command("list", epilog="Example: teleloop models list --brand CLOUDBOXX")
def list_models(
    brand: Annotated[str | None, typer.Option(help="Only models for units of this brand.")] = None, as_json: Json = False
) -> None:
    """The vehicle models, with id, production span, regions and how much they can say and do."""
    database = _database()
    if brand is not None:
        _known_brand(database, brand)
    chosen = list(database.models.values()) if brand is None else database.available(brand)
    if as_json:
        _print_json([_shown(model) for model in chosen])
        return
    table = Table("id", "model", "type", "built", "regions", "units", box=None)
    for model in chosen:
        built = f"{model.start_of_production} to {model.end_of_production or 'today'}"
        units = ", ".join(f"{name} ({len(unit.state_keys)}/{len(unit.commands)})" for name, unit in model.units.items())
        table.add_row(model.id, model.title, model.type, built, " ".join(model.regions), units)
    _print(table)


@models.command("check", epilog="Example: teleloop models check ./my-models")
def check_models(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Further folders with brands/ and models/, besides what teleloop brings.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Read every data file and run its examples. Exit code 0: all hold; 1: something does not; 2: no such folder."""
    for folder in folders or []:
        if not folder.is_dir():
            _stop(f"{folder} is no folder", USAGE)
    models_read, examples = 0, 0
    try:
        database = load(extra_folders=folders or [])
    except ModelError as error:
        problems = [{"file": error.file, "key": error.key, "problem": error.problem}]
    else:
        found = check(database.models.values(), database.brands.values())
        problems = [{"file": each.file, "key": each.key, "problem": each.problem} for each in found]
        models_read = len(database.models)
        examples = sum(len(unit.examples) for model in database.models.values() for unit in model.units.values())
    if as_json:
        _print_json({"ok": not problems, "models": models_read, "examples": examples, "problems": problems})
    else:
        for each in problems:
            typer.echo(": ".join(filter(None, (each["file"], each["key"], each["problem"]))))
        if not problems:
            typer.echo(f"{models_read} models, {examples} examples: all hold")
    if problems:
        raise typer.Exit(FAILED)


@models.command(
    "explain", epilog="""Example: teleloop models explain Golf --year 2020 --signals '{"fuel_level": 100, "can_locks": 1}'"""
)
def explain_model(
    model: Annotated[str, typer.Argument(help="Name, or make and name, or id of the model.")],
    signals: Annotated[str, typer.Option(help="Raw signals as a JSON object.")],
    year: Annotated[int | None, typer.Option(help="A year in which it was built.")] = None,
    brand: Annotated[str, typer.Option(help="The brand of the telematics unit.")] = "CLOUDBOXX",
    as_json: Json = False,
) -> None:
    """Which rule makes which property of the vehicle state from raw signals."""
    database = _database()
    _known_brand(database, brand)
    chosen = _chosen(database, brand, model, year)
    said = _signals(signals)
    made, rest = explain(chosen.units[brand], said), unread(chosen.units[brand], said)
    if as_json:
        rows = [
            {
                "property": each.key,
                "value": each.value,
                "unit": each.unit,
                "raw": each.raw,
                "rule": each.rule,
                "silence": each.silence,
            }
            for each in made
        ]
        _print_json(
            {"model": chosen.id, "state": {e.key: e.value for e in made if e.value is not None}, "rules": rows, "unread": rest}
        )
        return
    table = Table("property", "value", "raw", "rule", box=None, title=f"{chosen.title}, {chosen.file}", title_justify="left")
    for each in made:
        value = f"({each.silence})" if each.value is None else f"{_plain(each.value)} {each.unit}".strip()
        raw = ", ".join(f"{name}={raw}" for name, raw in each.raw.items())
        table.add_row(each.key, value, Text(raw), each.rule)
    _print(table)
    if rest:
        typer.echo(f"No rule reads {', '.join(rest)}.")


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _chosen(database: Database, brand: str, name: str, year: int | None) -> VehicleModel:
    by_id = database.models.get(name)
    candidates = [by_id] if by_id and brand in by_id.units else database.find(brand, name, year)
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        _stop(
            f"no model called {name!r}{f' built in {year}' if year else ''} for units of {brand}; see `teleloop models list`",
            USAGE,
        )
    spans = "; ".join(f"{each.start_of_production} to {each.end_of_production or 'today'} ({each.id})" for each in candidates)
    _stop(f"{name} is several models, give --year or the id: {spans}", USAGE)


def _signals(text: str) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        _stop(f"--signals is no JSON: {error}", USAGE)
    if not isinstance(said, dict):
        _stop("--signals must be a JSON object", USAGE)
    return said
