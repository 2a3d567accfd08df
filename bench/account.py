"""An account at a gateway, as the bench uses it: vehicles in bulk, archived afterwards; states, commands, metrics."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

import modeldb
from bench.http import Answer, LeanHttp
from devices.unitsfile import UnitRecord
from modeldb.brand import luhn_holds
from modeldb.model import VehicleModel

BULK = 500
AT_ONCE = 16
PAGE = 1_000
CONNECTIONS = 512
"""Requests under way at the same time: more commands than ever wait for a gateway that can still be called well."""

VIN_LETTERS = "0123456789ABCDEFGHJKLMNPRSTUVWXYZ"
_SAMPLE = re.compile(rb"^([a-z_]+)(?:\{([^}]*)\})? (\S+)$", re.MULTILINE)


class AccountError(Exception):
    """The gateway cannot be reached, or refuses what the bench needs; the message is for the user."""


class Added(msgspec.Struct, frozen=True):
    """A vehicle that was added for a run."""

    record: UnitRecord
    fleet_id: str


class Account:
    """The gateway at `url`, with a token that may add vehicles and send commands."""

    def __init__(self, url: str, token: str) -> None:
        self.url, self.token = url.rstrip("/"), token
        self._http = LeanHttp(self.url, {"Authorization": f"Bearer {token}"}, CONNECTIONS)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def call(self, method: str, path: str, document: Any = None, **headers: str) -> Answer:
        """One request. Raises AccountError where there is no answer at all."""
        try:
            return await self._http.call(method, path, document, **headers)
        except (OSError, asyncio.IncompleteReadError) as error:
            raise AccountError(f"the gateway at {self.url} cannot be reached: {error}") from error

    async def get(self, path: str) -> Any:
        """The document of a GET that has to go well. Raises AccountError."""
        answer = await self.call("GET", path)
        if answer.status != 200:
            raise AccountError(f"GET {path}: {_problem(answer)}")
        return answer.json()

    async def add(self, wanted: Sequence[tuple[str, VehicleModel]], progress: Callable[[int], None], moving: bool) -> list[Added]:
        """A vehicle of each (brand, model), its unit's id made up. Raises AccountError; what was added by then stays."""
        added: list[Added] = []
        for start in range(0, len(wanted), BULK):
            part = wanted[start : start + BULK]
            documents = [
                {
                    "telematics_brand": brand,
                    "telematics_unit_id": made_up_id(brand),
                    "vehicle_model_id": model.id,
                    "tags": ["load"],
                }
                for brand, model in part
            ]
            answer = await self.call("POST", "/vehicles", documents)
            if answer.status != 207:
                raise AccountError(f"the gateway does not add vehicles: {_problem(answer)}")
            for item in answer.json()["items"]:
                if item["status"] != 201:
                    problem = item["problem"]
                    raise AccountError(f"the gateway does not add a vehicle: {problem.get('detail') or problem.get('title')}")
                added.append(Added(_record(item["vehicle"], moving), item["vehicle"]["fleet_id"]))
            progress(len(added))
        return added

    async def archive(self, vehicle_ids: Iterable[str], progress: Callable[[int], None] = lambda _: None) -> int:
        """Take vehicles out of operation; how many could not be."""
        turns, done, failed = asyncio.Semaphore(AT_ONCE), 0, 0

        async def one(vehicle_id: str) -> None:
            nonlocal done, failed
            async with turns:
                try:
                    answer = await self.call("POST", f"/vehicles/{vehicle_id}/archive")
                    failed += answer.status >= 300
                except AccountError:
                    failed += 1
                done += 1
                progress(done)

        await asyncio.gather(*(one(vehicle_id) for vehicle_id in vehicle_ids))
        return failed

    async def command(self, vehicle_id: str, name: str, timeout_s: int) -> int:
        """Send a command and wait for the vehicle; the status, 0 where there was no answer."""
        try:
            answer = await self.call("POST", f"/vehicles/{vehicle_id}/commands/{name}?timeout={timeout_s}")
        except AccountError:
            return 0
        return answer.status

    async def state(self, vehicle_id: str) -> dict[str, Any]:
        """The latest state: property to value and timestamp."""
        said: dict[str, Any] = await self.get(f"/vehicles/{vehicle_id}/latest-vehicle-state")
        return said

    async def pages(self, path: str, limit: int = PAGE) -> AsyncIterator[Any]:
        """Every item of a list."""
        cursor: str | None = None
        while True:
            page = await self.get(f"{path}?limit={limit}" + (f"&cursor={quote(cursor)}" if cursor else ""))
            for item in page["items"]:
                yield item
            cursor = page["next_cursor"]
            if cursor is None:
                return

    async def metrics(self) -> dict[str, float]:
        """What /metrics says, by `name` and `name{labels}`; empty where the gateway has none."""
        answer = await self.call("GET", "/metrics")
        if answer.status != 200:
            return {}
        samples = _SAMPLE.findall(answer.body)
        return {(name + b"{" + labels + b"}" if labels else name).decode(): float(value) for name, labels, value in samples}


def _problem(answer: Answer) -> str:
    try:
        said = answer.json()
    except msgspec.DecodeError:
        said = {}
    words = (said.get("title"), said.get("detail")) if isinstance(said, dict) else ()
    return f"{answer.status} {': '.join(str(word) for word in words if word)}".strip()


def _request(brand: str, model: VehicleModel) -> dict[str, Any]:
    return {
        "telematics_brand": brand,
        "telematics_unit_id": made_up_id(brand),
        "vehicle_model_id": model.id,
        "tags": ["load"],
    }


def _record(vehicle: Mapping[str, Any], moving: bool) -> UnitRecord:
    credentials, unit = vehicle["credentials"], vehicle["telematics_unit"]
    return UnitRecord(
        vehicle_id=vehicle["id"],
        brand=unit["brand"],
        telematics_unit_id=unit["id"],
        vehicle_model_id=vehicle["model"]["id"],
        password=credentials["password"],
        seal_key=credentials["seal_key"],
        command_key=credentials["command_key"],
        generation=credentials["generation"],
        moving=moving,
    )


def made_up_id(brand: str) -> str:
    """An id such as the brand's units have, by its pattern's length: an IMEI, a VIN, a QNR."""
    match modeldb.load().brands[brand].protocol:
        case "teltonika":
            digits = f"35{secrets.randbelow(10**12):012}"
            return next(f"{digits}{check}" for check in range(10) if luhn_holds(f"{digits}{check}"))
        case "cloudboxx":
            return secrets.token_hex(8).upper()
        case "gbt32960":
            return "LGX" + "".join(secrets.choice(VIN_LETTERS) for _ in range(14))
        case _:
            return "W1N" + "".join(secrets.choice(VIN_LETTERS) for _ in range(14))


def fleet_of(units: int, brands: Mapping[str, float], models: int | None, names: Sequence[str]) -> list[tuple[str, VehicleModel]]:
    """Brand and model of each unit: brands by weight, in turn; of each `models` models, those whose name or id is in `names`.

    Raises AccountError for what the model database does not know.
    """
    database = modeldb.load()
    if unknown := [brand for brand in brands if brand not in database.brands]:
        raise AccountError(f"there is no brand {', '.join(unknown)}; there are {', '.join(sorted(database.brands))}")
    choices: dict[str, list[VehicleModel]] = {}
    for brand in brands:
        known = [model for model in database.available(brand) if not names or {model.id, model.name, model.title} & set(names)]
        if not known:
            raise AccountError(f"of {brand} there is no model {', '.join(names)}")
        choices[brand] = known[: models or len(known)]
    total = sum(brands.values())
    due, given = dict.fromkeys(brands, 0.0), dict.fromkeys(brands, 0)
    made = []
    for _ in range(units):
        for brand, weight in brands.items():
            due[brand] += weight / total
        brand = max(due, key=lambda each: due[each])
        due[brand] -= 1
        made.append((brand, choices[brand][given[brand] % len(choices[brand])]))
        given[brand] += 1
    return made
