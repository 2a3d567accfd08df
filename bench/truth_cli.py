"""`teleloop truth`: the vehicles of a fleet process beside what a gateway process shows of them, over their own APIs."""

import asyncio
import importlib
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

import modeldb
from bench.account import Account, AccountError
from bench.http import LeanHttp
from bench.local import SettingsError, local
from bench.truth import Difference, Truth, compared, total
from devices.cli import TruthUnable
from devices.fleet import Fleet
from devices.unitsfile import UnitRecord

FAILED, SETUP_FAILED = 1, 2
PAGE = 1_000
AGAIN_S = 0.5
SHOWN = 20

app = typer.Typer(no_args_is_help=True, help="Truth.")


@app.command(epilog="Example: teleloop truth --fleet http://127.0.0.1:8090 --url http://127.0.0.1:8080")
def truth(
    fleet: Annotated[str, typer.Option(help="Control API of the process that the vehicles live in.")] = "http://127.0.0.1:8090",
    url: Annotated[str | None, typer.Option(help="The gateway's API; without: the one that runs here.")] = None,
    token: Annotated[str | None, typer.Option(envvar="TELELOOP_TOKEN", help="Its API token.")] = None,
    within: Annotated[
        float, typer.Option(min=0, help="Seconds that what was just said may take on its way; what differs longer is different.")
    ] = 15.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Compare every supported property of every vehicle of a fleet with what the gateway shows of it.

    Numbers are compared as they were when the unit last reported, words as they are now. Exit code 0: nothing differs;
    1: something does; 2: one of the two cannot be asked.
    """
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    try:
        here = local()
        url, token = url or here.api_url, token or here.api_token
        if url is None or token is None:
            raise TruthUnable("no gateway runs here: give --url and --token")
        with console.status("comparing ...") as line:
            found, vehicles = asyncio.run(compare(fleet, url, token, within, line.update))
    except (TruthUnable, AccountError, SettingsError, ValueError) as error:
        console.print(str(error), style="red", soft_wrap=True)
        raise typer.Exit(SETUP_FAILED) from error
    for each in found.differences[:SHOWN]:
        console.print(each.text, soft_wrap=True)
    if found.different > SHOWN:
        console.print(f"... and {found.different - SHOWN} more")
    console.print(f"truth: {found.different} of {found.compared} properties of {vehicles} vehicles differ")
    if as_json:
        said = found.document() | {"differences": [msgspec.to_builtins(each) for each in found.differences]}
        sys.stdout.write(msgspec.json.encode({"truth": said, "vehicles": vehicles}).decode() + "\n")
    raise typer.Exit(FAILED if found.different else 0)


async def compare(
    fleet: str, url: str, token: str, within_s: float = 15.0, said: Callable[[str], None] = lambda _: None
) -> tuple[Truth, int]:
    """The truth check over two APIs, and how many vehicles it was of. Raises TruthUnable, AccountError, ValueError."""
    account, vehicles = Account(url, token), LeanHttp(fleet, {})
    try:
        return await _compared_in_time(lambda: _reported(vehicles, fleet), account, within_s, said)
    finally:
        await vehicles.close()
        await account.close()


class FleetTruth:
    """The truth check of a fleet in this process, for `devices.cli`; see `devices.cli.TruthCheck`."""

    def __init__(self, url: str, token: str | None) -> None:
        """Raises TruthUnable where there is no token."""
        found = token or local().api_token
        if found is None:
            raise TruthUnable(f"the API of {url} needs its token: --token, or TELELOOP_TOKEN")
        self._account = Account(url, found)
        self._ids: dict[tuple[str, str], str] = {}

    async def begin(self, fleet: Fleet) -> None:
        """Find out which vehicles the units are in. Raises TruthUnable."""
        try:
            items = [item async for item in self._account.pages("/vehicles")]
        except AccountError as error:
            raise TruthUnable(str(error)) from error
        self._ids = {(item["telematics_unit"]["brand"], item["telematics_unit"]["id"]): item["id"] for item in items}
        unknown = [member.record for member in fleet.members if _unit_key(member.record) not in self._ids]
        if unknown:
            raise TruthUnable(f"{self._account.url} has no vehicle with {unknown[0].unit}: {len(unknown)} units are not its own")

    async def compare(self, fleet: Fleet, within_s: float, said: Callable[[str], None]) -> Truth:
        """Every supported property of every vehicle beside what the gateway shows of it. Raises TruthUnable."""
        told = importlib.import_module("devices.truth").told  # what it needs costs memory that large fleets save

        async def reported() -> list[dict[str, Any]]:
            return [told(member) | {"vehicle_id": self._ids[_unit_key(member.record)]} for member in fleet.members]

        try:
            found, _ = await _compared_in_time(reported, self._account, within_s, said)
        except AccountError as error:
            raise TruthUnable(str(error)) from error
        return found

    async def close(self) -> None:
        """Close the connections."""
        await self._account.close()


def _unit_key(record: UnitRecord) -> tuple[str, str]:
    return record.brand, record.telematics_unit_id


async def _compared_in_time(
    reported: Callable[[], Awaitable[list[dict[str, Any]]]], account: Account, within_s: float, said: Callable[[str], None]
) -> tuple[Truth, int]:
    """A vehicle that lives on may be caught between a report and its arrival: it is looked at again until nothing differs, or
    until `within_s` seconds have passed."""
    right, ends_at = list[Truth](), time.monotonic() + within_s
    done: set[str] = set()
    while True:
        facts = await reported()
        shown = await _shown(account)
        wrong = []
        for each in facts:
            unit = f"{each['brand']}/{each['telematics_unit_id']}"
            if unit in done:
                continue
            found = _compared(unit, each, shown)
            if found.different:
                wrong.append(found)
            else:
                right.append(found)
                done.add(unit)
        said(f"{len(done)} of {len(facts)} vehicles are as the gateway says")
        if not wrong or time.monotonic() >= ends_at:
            return total(right + wrong), len(facts)
        await asyncio.sleep(AGAIN_S)


async def _reported(vehicles: LeanHttp, fleet: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        try:
            answer = await vehicles.call("GET", f"/reported?limit={PAGE}&offset={len(found)}")
            page = answer.json() if answer.status == 200 else None
        except (OSError, msgspec.DecodeError) as error:
            raise TruthUnable(f"the control API at {fleet} cannot be reached: {error}") from error
        if not isinstance(page, dict) or "items" not in page:
            raise TruthUnable(f"{fleet} is no control API of a fleet: GET /reported is answered with {answer.status}")
        found += page["items"]
        if len(found) >= page["total"] or not page["items"]:
            return found


async def _shown(account: Account) -> dict[str, dict[str, Any]]:
    """What the gateway shows, by vehicle and by unit."""
    shown = {item["vehicle_id"]: item async for item in account.pages("/latest-vehicle-states")}
    return {name: {key: said["value"] for key, said in item["vehicle_state"].items()} for name, item in shown.items()}


def _compared(unit: str, each: dict[str, Any], shown: dict[str, dict[str, Any]]) -> Truth:
    vehicle = each["vehicle_id"]
    if vehicle is None:
        raise TruthUnable(f"{unit}: the fleet does not know which vehicle of the gateway it is in: its file says no vehicle_id")
    if vehicle not in shown:
        why = "the gateway shows no such vehicle"
        return Truth(compared=1, differences=(Difference(unit=unit, key="vehicle_id", truth=vehicle, gateway=None, why=why),))
    try:
        translation = modeldb.load().models[each["vehicle_model_id"]].units[each["brand"]]
    except KeyError as error:
        raise TruthUnable(f"{unit}: the model database here does not know {error}") from error
    return compared(unit, each["truth"], each["told"], shown[vehicle], translation, waits=bool(each["waiting"]))
