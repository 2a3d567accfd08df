"""`teleloop gateway`, `vehicles`, `clients`: run a gateway, and use one over its REST API."""

import asyncio
import json
import os
import sys
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import httpx2
import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.settings import Settings

if TYPE_CHECKING:
    from gateway.server import Serving

FAILED, SETUP_FAILED = 1, 2
PAGE_LIMIT = 200

app = typer.Typer(no_args_is_help=True)
vehicles = typer.Typer(no_args_is_help=True, help="Vehicles of a running gateway: add, list, show, archive, restore, command.")
app.add_typer(vehicles, name="vehicles")
clients = typer.Typer(no_args_is_help=True, help="API clients of a running gateway: add, list, rotate, remove.")
app.add_typer(clients, name="clients")

console = Console(stderr=True, markup=False, emoji=False)
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@app.command()
def gateway(
    http: Annotated[str | None, typer.Option(help="Address of the REST API, host:port.")] = None,
    mqtt_url: Annotated[str | None, typer.Option(help="The units' broker; none: an embedded one.")] = None,
    amqp_url: Annotated[str | None, typer.Option(help="RabbitMQ; none: a local event log.")] = None,
    database_url: Annotated[str | None, typer.Option(help="The store; none: SQLite in the data folder.")] = None,
    data: Annotated[Path | None, typer.Option(help="Data folder.", file_okay=False)] = None,
) -> None:
    """Run the gateway until Ctrl-C. Every flag is also an environment variable: TELELOOP_HTTP, TELELOOP_AMQP_URL, ...

    Example: teleloop gateway --amqp-url amqp://guest:guest@127.0.0.1:5672/
    """
    from gateway.logs import configure
    from gateway.server import Serving, run
    from protocols.hotpath import decoding_path

    said = {"http": http, "mqtt_url": mqtt_url, "amqp_url": amqp_url, "database_url": database_url, "data": data}

    configure()

    def started(serving: Serving) -> None:
        console.print(f"API       {serving.url}/docs")
        console.print(f"units at  {serving.gateway.logins.unit_url}")
        console.print(f"decoding  {decoding_path()}")
        say_first_client(serving)

    run_until_done(run(settings(**said), started))


def say_first_client(serving: "Serving") -> None:
    """The first admin client, at the one start at which its secret is known."""
    if serving.gateway.first_client is not None:
        client, secret = serving.gateway.first_client
        console.print(f"client    {client.client_id}", highlight=False)
        console.print(f"secret    {secret}", highlight=False)
        console.print("          for POST /oauth2/token; this secret is not shown again")


def settings(**flags: Any) -> Settings:
    """The settings with these flags, as far as they were given. Ends the program where they are wrong."""
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        for problem in error.errors():
            where = ".".join(str(part) for part in problem["loc"])
            console.print(f"{where or 'settings'}: {problem['msg'].removeprefix('Value error, ')}", style="red")
        raise typer.Exit(SETUP_FAILED) from error


def run_until_done(main: Coroutine[Any, Any, None]) -> None:
    """Run `main` on the fastest event loop there is. What cannot be set up ends the program with one clear line."""
    from gateway.amqp.topology import TopologyConflict
    from gateway.brokers import BrokerFailed
    from gateway.store.database import StoreDamaged
    from modeldb.document import ModelError

    try:
        import uvloop

        loop_factory = uvloop.new_event_loop
    except ImportError:  # Windows
        loop_factory = None
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(main)
    except (OSError, ValueError, StoreDamaged, TopologyConflict, BrokerFailed, ModelError) as error:
        console.print(str(error), style="red")
        raise typer.Exit(SETUP_FAILED) from error


def client() -> httpx2.Client:
    """A client of the API: TELELOOP_URL and TELELOOP_TOKEN, else the local gateway's own. Ends the program if there is none."""
    data = settings().data
    url, token = os.environ.get("TELELOOP_URL"), os.environ.get("TELELOOP_TOKEN")
    try:
        url = url or json.loads((data / "gateway.json").read_text())["url"]
        token = token or (data / "api-token").read_text().strip()
    except (OSError, ValueError, KeyError):
        console.print(f"No gateway runs here (looked in {data}). Start one, or set TELELOOP_URL and TELELOOP_TOKEN.", style="red")
        raise typer.Exit(SETUP_FAILED) from None
    return httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60)


def call(method: str, path: str, **request: Any) -> Any:
    """One request's answer as JSON values. A refusal ends the program with what the problem document says."""
    try:
        with client() as api:
            answer = api.request(method, path, **request)
    except httpx2.HTTPError as error:
        console.print(f"The gateway cannot be reached: {error}", style="red")
        raise typer.Exit(SETUP_FAILED) from error
    if answer.is_success:
        return answer.json() if answer.content else None
    try:
        problem = answer.json()
    except ValueError:
        problem = {"title": answer.text}
    said = [problem.get("title"), problem.get("detail"), problem.get("reason")]
    console.print(f"{answer.status_code} {': '.join(str(each) for each in said if each)}", style="red")
    for candidate in problem.get("candidates", []):
        console.print(f"  {candidate.get('id')}  {candidate.get('name')}  from {candidate.get('start_of_production')}")
    raise typer.Exit(FAILED)


def say_json(document: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(document, indent=2 if sys.stdout.isatty() else None) + "\n")


@vehicles.command()
def add(
    brand: Annotated[str, typer.Option(help="Brand of the telematics unit.")],
    unit: Annotated[str, typer.Option(help="Its id: QNR, VIN, or IMEI.")],
    model: Annotated[str, typer.Option(help="Vehicle model: its id, or its name.")],
    year: Annotated[int | None, typer.Option(help="Year of construction, with a name.")] = None,
    as_json: AsJson = False,
) -> None:
    """Add a vehicle; its unit's secrets are shown this once.

    Example: teleloop vehicles add --brand CLOUDBOXX --unit 0123456789ABCDEF --model Golf --year 2021
    """
    body: dict[str, Any] = {"telematics_brand": brand, "telematics_unit_id": unit}
    body |= {"vehicle_model": model, "year": year} if year is not None or not _is_ulid(model) else {"vehicle_model_id": model}
    added = call("POST", "/vehicles", json={name: value for name, value in body.items() if value is not None})
    if as_json:
        say_json(added)
        return
    out = Console(markup=False, emoji=False)
    out.print(f"added vehicle {added['id']}: {added['model']['brand']} {added['model']['name']}")
    for name, value in added["credentials"].items():
        out.print(f"  {name:12} {value}", highlight=False)
    out.print("These secrets are not shown again.")


def _is_ulid(text: str) -> bool:
    return len(text) == 26 and text.isalnum() and text.upper() == text


@vehicles.command("list")
def list_vehicles(
    q: Annotated[str | None, typer.Option(help="Search in master data and custom fields.")] = None,
    archived: Annotated[bool | None, typer.Option(help="Only archived, or only live ones.")] = None,
    as_json: AsJson = False,
) -> None:
    """List vehicles.

    Example: teleloop vehicles list
    """
    query: dict[str, Any] = {"limit": PAGE_LIMIT} | ({"q": q} if q else {}) | ({} if archived is None else {"archived": archived})
    items: list[Mapping[str, Any]] = []
    while True:
        page = call("GET", "/vehicles", params=query)
        items += page["items"]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    if as_json:
        say_json({"items": items, "next_cursor": None})
        return
    table = Table("vehicle", "unit", "model", "life", "status", "last contact", box=None)
    for each in items:
        unit, model = each["telematics_unit"], each["model"]
        table.add_row(
            each["id"],
            f"{unit['brand']}/{unit['id']}",
            f"{model['brand']} {model['name']}",
            each["life_status"]["value"],
            each["status"],
            unit["last_contact_at"] or "never",
        )
    Console(markup=False, emoji=False).print(table)


@vehicles.command()
def show(vehicle_id: str, as_json: AsJson = False) -> None:
    """Show a vehicle and its latest state.

    Example: teleloop vehicles show A2B3C
    """
    vehicle = call("GET", f"/vehicles/{vehicle_id}")
    state = call("GET", f"/vehicles/{vehicle_id}/latest-vehicle-state")
    if as_json:
        say_json(vehicle | {"latest_vehicle_state": state})
        return
    out = Console(markup=False, emoji=False)
    out.print_json(data={name: value for name, value in vehicle.items() if name != "capabilities"})
    _show_state(out, state)


@vehicles.command()
def archive(vehicle_id: str, as_json: AsJson = False) -> None:
    """Take a vehicle out of operation at once; it is kept 90 days.

    Example: teleloop vehicles archive A2B3C
    """
    _changed(call("POST", f"/vehicles/{vehicle_id}/archive"), "archived", as_json)


@vehicles.command()
def restore(vehicle_id: str, as_json: AsJson = False) -> None:
    """Bring an archived vehicle back.

    Example: teleloop vehicles restore A2B3C
    """
    _changed(call("POST", f"/vehicles/{vehicle_id}/restore"), "restored", as_json)


def _changed(vehicle: Mapping[str, Any], what: str, as_json: bool) -> None:
    if as_json:
        say_json(vehicle)
    else:
        Console(markup=False, emoji=False).print(f"{what} vehicle {vehicle['id']}")


@vehicles.command()
def command(
    vehicle_id: str,
    name: str,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the vehicle.")] = 30,
    key: Annotated[str | None, typer.Option(help="Idempotency-Key: the same key again is never executed twice.")] = None,
    as_json: AsJson = False,
) -> None:
    """Have a vehicle carry out a command, and show its state after it.

    Example: teleloop vehicles command A2B3C unlock-central-lock
    """
    headers = {"Idempotency-Key": key} if key else {}
    with console.status(Text(f"waiting for {vehicle_id}")):
        state = call("POST", f"/vehicles/{vehicle_id}/commands/{name}", params={"timeout": timeout}, headers=headers)
    if as_json:
        say_json(state)
        return
    out = Console(markup=False, emoji=False)
    out.print(Text.assemble(("done", "green"), f": {name}"))
    _show_state(out, state)


def _show_state(out: Console, state: Mapping[str, Mapping[str, Any]]) -> None:
    table = Table("property", "value", "captured", box=None)
    for key, said in sorted(state.items()):
        table.add_row(key, str(said["value"]), said["timestamp"])
    out.print(table)


@clients.command("add")
def add_client(
    name: Annotated[str, typer.Argument(help="For people.")],
    scope: Annotated[list[str], typer.Option(help="What it may do; more than once for more.")],
    fleet: Annotated[str | None, typer.Option(help="Its fleet; none: your own.")] = None,
    as_json: AsJson = False,
) -> None:
    """Add an API client; its secret is shown this once.

    Example: teleloop clients add shop --scope vehicles --scope vehicle-commands
    """
    body = {"name": name, "scopes": scope} | ({"fleet_id": fleet} if fleet else {})
    _show_secret(call("POST", "/clients", json=body), as_json)


@clients.command("list")
def list_clients(
    fleet: Annotated[str | None, typer.Option(help="Only those of this fleet.")] = None, as_json: AsJson = False
) -> None:
    """List API clients.

    Example: teleloop clients list
    """
    page = call("GET", "/clients", params={"fleet": fleet} if fleet else {})
    if as_json:
        say_json(page)
        return
    table = Table("client", "fleet", "name", "scopes", "secret issued", box=None)
    for each in page["items"]:
        table.add_row(each["id"], each["fleet_id"], each["name"], " ".join(each["scopes"]), each["secret_issued_at"])
    Console(markup=False, emoji=False).print(table)


@clients.command("rotate")
def rotate_client(client_id: str, as_json: AsJson = False) -> None:
    """Give a client another secret; the older one and its tokens end at once.

    Example: teleloop clients rotate 9f86d081884c7d65
    """
    _show_secret(call("POST", f"/clients/{client_id}/rotate"), as_json)


@clients.command("remove")
def remove_client(client_id: str, as_json: AsJson = False) -> None:
    """Remove a client; its tokens end at once.

    Example: teleloop clients remove 9f86d081884c7d65
    """
    call("DELETE", f"/clients/{client_id}")
    if as_json:
        say_json({"id": client_id})
    else:
        Console(markup=False, emoji=False).print(f"removed client {client_id}")


def _show_secret(issued: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        say_json(issued)
        return
    out = Console(highlight=False, markup=False, emoji=False)
    out.print(f"client  {issued['id']}  ({' '.join(issued['scopes'])})")
    out.print(f"secret  {issued['secret']}")
    out.print("This secret is not shown again.")
