"""The control API of a fleet process: what a test or a page needs to drive a running simulation. Loopback, HTTP, no login.

Whoever can reach it plays every driver: it is served on loopback addresses and nowhere else. Errors are RFC 9457 documents.
"""

import asyncio
import contextlib
import ipaddress
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any, Literal

import uvicorn
from fastapi import Body, FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException as StarletteHTTPException

from devices import driving
from devices.faults import ALL, FaultUnsuited, by_name
from devices.fleet import Fleet
from devices.member import Member
from devices.power import ResetCause
from devices.roads import Roads, shipped
from devices.routefile import RouteFileError, parse_ways
from devices.truth import Setting, facts, told

MEDIA_TYPE = "application/problem+json"
TYPE = "urn:teleloop:problem:"
STATUS_WORDS = {400: "validation", 404: "not_found", 405: "method_not_allowed", 409: "conflict", 422: "refused"}
BODY_LIMIT_BYTES = 4 << 20
START_TIMEOUT_S = 10.0

Done = dict[str, Any]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Place(_Strict):
    """A place, WGS 84."""

    lat: float = Field(ge=-90, le=90)
    lon: float = Field(ge=-180, le=180)


class Drive(_Strict):
    """Where to drive: to a place, along a way (GeoJSON), or so many kilometres; exactly one of them."""

    to: Place | None = None
    along: dict[str, Any] | None = Field(default=None, description="GeoJSON with a LineString")
    kilometers: float | None = Field(default=None, gt=0, le=2000)
    speed_kmh: float | None = Field(default=None, gt=0, le=300, description="No faster than this; else as fast as is allowed.")
    then: driving.Then = Field(default="park", description="At the end: stay with the ignition on, park, or park and lock.")


class Switch(_Strict):
    """On or off."""

    on: bool


class Openings(_Strict):
    """Which doors, windows or lids."""

    what: list[driving.Opening] = Field(min_length=1)


class Coverage(_Strict):
    """Whether there is a network; `seconds`: for that long, then the contrary."""

    covered: bool
    seconds: float | None = Field(default=None, gt=0, le=30 * 86_400)


class Supply(_Strict):
    """The voltage at the unit's pins; null: what the battery gives."""

    volts: float | None = Field(ge=0, le=60)


class Rate(_Strict):
    """How often a fault strikes; left out: as usual."""

    rate: float | None = Field(default=None, ge=0)


class Fob(_Strict):
    """Which button is pressed."""

    locks: bool


class Card(_Strict):
    """The RFID card's number."""

    card: str = Field(min_length=1, max_length=64)


class Reset(_Strict):
    """Why the unit starts anew."""

    cause: Literal["power", "watchdog", "brown_out", "update", "command"] = "power"


def application(fleet: Fleet, roads: Roads | None = None) -> FastAPI:
    """The API over a fleet that runs in this event loop."""
    town = roads or shipped()
    api = FastAPI(title="teleloop fleet", version="1", description=__doc__)
    _problems(api)
    unit_path = "/units/{brand}/{unit}"

    def member_of(brand: str, unit: str) -> Member:
        member = fleet.find(brand, unit)
        if member is None:
            raise HTTPException(404, f"there is no unit {brand}/{unit} in this fleet")
        return member

    def done(member: Member) -> Done:
        fleet.attend(member)
        return facts(member, fleet.now_ms())

    @api.get("/", include_in_schema=False)
    async def home() -> RedirectResponse:
        return RedirectResponse("/docs")

    @api.get("/units", summary="All units, in the order of their file")
    async def units(
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1_000,
        offset: Annotated[int, Query(ge=0)] = 0,
        brand: str | None = None,
        vehicle_id: str | None = None,
    ) -> Done:
        fleet.settle()
        fits = [
            member
            for member in fleet.members
            if brand in (None, member.record.brand) and vehicle_id in (None, member.record.vehicle_id)
        ]
        chosen = fits[offset : offset + limit]
        return {"items": [facts(member, fleet.now_ms(), brief=True) for member in chosen], "total": len(fits)}

    @api.get("/truth", summary="What is true of every vehicle, as the vocabulary says it")
    async def truths() -> Done:
        fleet.settle()
        return {str(member.record.unit): member.firmware.vehicle.state() for member in fleet.members}

    @api.get("/reported", summary="What is true beside what was true when the unit last reported: for a truth check")
    async def reported(limit: Annotated[int, Query(ge=1, le=10_000)] = 1_000, offset: Annotated[int, Query(ge=0)] = 0) -> Done:
        fleet.settle()
        chosen = fleet.members[offset : offset + limit]
        return {"items": [told(member) for member in chosen], "total": len(fleet.members)}

    @api.get("/faults", summary="What can go wrong")
    async def faults() -> list[Done]:
        return [{"name": name, "level": kind.level, "what": kind.sentence, "per": kind.per} for name, kind in sorted(ALL.items())]

    @api.get(unit_path, summary="A unit, its vehicle and what is true of it")
    async def unit(brand: str, unit: str) -> Done:
        member = member_of(brand, unit)
        fleet.settle()
        return facts(member, fleet.now_ms())

    @api.get(unit_path + "/truth", summary="What is true of its vehicle, as the vocabulary says it")
    async def truth(brand: str, unit: str) -> Done:
        member = member_of(brand, unit)
        fleet.settle()
        return member.firmware.vehicle.state()

    @api.patch(unit_path + "/truth", summary="Set what a driver, a mechanic or the weather could")
    async def set_truth(brand: str, unit: str, setting: Setting) -> Done:
        member = member_of(brand, unit)
        setting.apply(member.firmware.vehicle)
        return done(member)

    @api.post(unit_path + "/drive", summary="Send it to a place, along a way, or for some kilometres")
    async def drive(brand: str, unit: str, order: Drive) -> Done:
        member = member_of(brand, unit)
        vehicle = member.firmware.vehicle
        fleet.settle()
        try:
            way = driving.way_for(
                vehicle,
                town,
                to=(order.to.lat, order.to.lon) if order.to else None,
                along=None if order.along is None else parse_ways(json.dumps(order.along).encode(), "along")[0],
                kilometers=order.kilometers,
            )
        except RouteFileError as error:
            raise HTTPException(400, str(error)) from error
        except ValueError as error:
            raise HTTPException(422, str(error)) from error
        if not vehicle.ignition and not vehicle.can_start:
            raise HTTPException(422, "the 12 V battery is empty: it does not start")
        driving.send(vehicle, way, order.speed_kmh, order.then)
        return {**done(member), "way": {"length_m": round(way.length_m, 1)}}

    @api.post(unit_path + "/stop", summary="Brake to a stand and stay there, the ignition stays on")
    async def stop(brand: str, unit: str) -> Done:
        member = member_of(brand, unit)
        fleet.settle()
        driving.stop(member.firmware.vehicle)
        return done(member)

    @api.post(unit_path + "/resume", summary="Let its driver go on with what he did before he was sent or stopped")
    async def resume(brand: str, unit: str) -> Done:
        member = member_of(brand, unit)
        fleet.settle()
        member.firmware.vehicle.resume()
        return done(member)

    @api.post(unit_path + "/open", summary="Open doors, windows or lids")
    async def open_(brand: str, unit: str, openings: Openings) -> Done:
        return _opened(brand, unit, openings, True)

    @api.post(unit_path + "/close", summary="Close doors, windows or lids")
    async def close(brand: str, unit: str, openings: Openings) -> Done:
        return _opened(brand, unit, openings, False)

    def _opened(brand: str, unit: str, openings: Openings, opens: bool) -> Done:
        member = member_of(brand, unit)
        for what in openings.what:
            if (refusal := driving.opened(member.firmware.vehicle, what, opens)) is not None:
                raise HTTPException(422, refusal)
        return done(member)

    @api.post(unit_path + "/lock", summary="Lock it by hand, as with the key")
    async def lock(brand: str, unit: str) -> Done:
        return _locked(brand, unit, True)

    @api.post(unit_path + "/unlock", summary="Unlock it by hand, as with the key")
    async def unlock(brand: str, unit: str) -> Done:
        return _locked(brand, unit, False)

    def _locked(brand: str, unit: str, locked: bool) -> Done:
        member = member_of(brand, unit)
        member.firmware.vehicle.locked = locked
        return done(member)

    @api.post(unit_path + "/ignition", summary="Switch the ignition")
    async def ignition(brand: str, unit: str, switch: Switch) -> Done:
        member = member_of(brand, unit)
        if (refusal := driving.switched(member.firmware.vehicle, switch.on)) is not None:
            raise HTTPException(422, refusal)
        return done(member)

    @api.post(unit_path + "/fob", summary="Press the vehicle's own key fob beside it")
    async def fob(brand: str, unit: str, button: Fob) -> Done:
        member = member_of(brand, unit)
        fleet.let(member, member.firmware.press_fob, button.locks)
        return done(member)

    @api.post(unit_path + "/card", summary="Hold an RFID card to the reader")
    async def card(brand: str, unit: str, shown: Card) -> Done:
        member = member_of(brand, unit)
        fleet.let(member, member.firmware.show_card, shown.card)
        return done(member)

    @api.post(unit_path + "/coverage", summary="Cut or restore its network")
    async def coverage(brand: str, unit: str, said: Coverage) -> Done:
        member = member_of(brand, unit)
        member.firmware.cover(said.covered, fleet.now_ms())
        if said.seconds is not None:
            asyncio.get_running_loop().call_later(said.seconds, _cover, member, not said.covered)
        return done(member)

    def _cover(member: Member, covered: bool) -> None:
        member.firmware.cover(covered, fleet.now_ms())
        fleet.attend(member)

    @api.post(unit_path + "/supply", summary="Set the voltage at its supply pins")
    async def supply(brand: str, unit: str, said: Supply) -> Done:
        member = member_of(brand, unit)
        member.firmware.vehicle.forced_supply_volts = said.volts
        return done(member)

    @api.post(unit_path + "/power", summary="Pull its plug, or put it back")
    async def power(brand: str, unit: str, switch: Switch) -> Done:
        member = member_of(brand, unit)
        (member.firmware.switch_on if switch.on else member.firmware.switch_off)(fleet.now_ms())
        return done(member)

    @api.post(unit_path + "/reset", summary="Start it anew")
    async def reset(brand: str, unit: str, said: Annotated[Reset, Body()] = Reset()) -> Done:  # noqa: B008 - frozen in use
        member = member_of(brand, unit)
        member.firmware.reset(ResetCause[said.cause.upper()], fleet.now_ms())
        return done(member)

    @api.post(unit_path + "/hang", summary="Let its program hang until the watchdog bites")
    async def hang(brand: str, unit: str) -> Done:
        member = member_of(brand, unit)
        member.firmware.hang(fleet.now_ms())
        return done(member)

    @api.put(unit_path + "/faults/{name}", summary="Let something go wrong")
    async def inject(brand: str, unit: str, name: str, said: Annotated[Rate, Body()] = Rate()) -> Done:  # noqa: B008
        member = member_of(brand, unit)
        if name not in ALL:
            raise HTTPException(404, f"no fault is called {name!r}; there are {', '.join(sorted(ALL))}")
        try:
            member.firmware.inject(by_name(name, said.rate), fleet.now_ms())
        except FaultUnsuited as error:
            raise HTTPException(422, str(error)) from error
        except ValueError as error:
            raise HTTPException(400, str(error)) from error
        return done(member)

    @api.delete(unit_path + "/faults/{name}", summary="Let it go wrong no more")
    async def cure(brand: str, unit: str, name: str) -> Done:
        member = member_of(brand, unit)
        if name not in member.firmware.ailments:
            raise HTTPException(404, f"{brand}/{unit} does not have {name!r}")
        member.firmware.cure(name, fleet.now_ms())
        return done(member)

    return api


def _problems(api: FastAPI) -> None:
    @api.exception_handler(StarletteHTTPException)
    async def http(request: Request, error: StarletteHTTPException) -> JSONResponse:
        return _problem(error.status_code, str(error.detail))

    @api.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return _problem(400, "; ".join(_sentence(each) for each in error.errors()))

    @api.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> JSONResponse:
        return _problem(500, "something that should not happen did; the fleet's log says more")

    @api.middleware("http")
    async def bounded(request: Request, call: Callable[[Request], Awaitable[Any]]) -> Any:
        if int(request.headers.get("content-length") or 0) > BODY_LIMIT_BYTES:
            return _problem(413, f"a body of at most {BODY_LIMIT_BYTES} bytes is wanted")
        return await call(request)


def _sentence(error: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in error["loc"] if part != "body")
    return f"{where or 'the body'}: {error['msg']}"


def _problem(status: int, detail: str) -> JSONResponse:
    word = STATUS_WORDS.get(status, "error")
    body = {"type": TYPE + word, "title": word.replace("_", " "), "status": status, "detail": detail, "reason": word}
    return JSONResponse(body, status, media_type=MEDIA_TYPE)


class ControlError(ValueError):
    """The control API cannot be served there."""


def address(said: str) -> tuple[str, int]:
    """`host:port` on loopback; port 0 takes a free one. Raises ControlError."""
    host, _, port = said.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not port.isdecimal() or int(port) > 65535:
        raise ControlError(f"the control API's address is wanted as 127.0.0.1:PORT, not {said!r}")
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ControlError(f"the control API has no login and is served on loopback only, not on {host}")
    return host, int(port)


@contextlib.asynccontextmanager
async def serving(fleet: Fleet, said: str, roads: Roads | None = None) -> AsyncIterator[str]:
    """Serve the API meanwhile; its URL. Raises ControlError."""
    host, port = address(said)
    config = uvicorn.Config(application(fleet, roads), host=host, port=port, log_config=None, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    bound = _bound(config)
    task = asyncio.create_task(server._serve([bound]))
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            while not server.started:
                if task.done():
                    raise ControlError(f"the control API does not start on {said}")
                await asyncio.sleep(0.02)
        taken = bound.getsockname()
        yield f"http://{f'[{taken[0]}]' if ':' in taken[0] else taken[0]}:{taken[1]}"
    finally:
        server.should_exit = server.force_exit = True
        with contextlib.suppress(asyncio.CancelledError):
            await task
        bound.close()


def _bound(config: uvicorn.Config) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    made = socket.socket(family)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((config.host, config.port))
    except OSError as error:
        made.close()
        raise ControlError(f"{config.host}:{config.port}: {error.strerror or error}") from error
    return made
