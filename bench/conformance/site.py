"""A gateway seen from outside: its API, its events, and the units that the kit plays at its broker."""

import asyncio
import contextlib
import itertools
import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import aio_pika
import httpx2

import modeldb
from bench.conformance.captures import Capture, Captures, Keys
from bench.conformance.packets import Connect, Publish
from bench.conformance.requirement import NotExecuted, Requirement
from bench.conformance.wire.broker import MqttClient
from bench.conformance.wire.line import WireError
from modeldb.brand import luhn_holds
from modeldb.model import VehicleModel
from protocols import envelope, load
from protocols.codec import Frame, Peer, ProtocolError, Report, UnitId
from protocols.envelope import Envelope, Result

T = TypeVar("T")
FLOW_ID = "X-INVERS-Flow-ID"
PROBLEM = "application/problem+json"
POLL_S = 0.05
VIN_LETTERS = "0123456789ABCDEFGHJKLMNPRSTUVWXYZ"
TAG = "teleloop-conform"
MODULUS = 1 << 32


@dataclass(frozen=True)
class Access:
    """Where a gateway is and what the kit may do there. `client` is id and secret; `token` a Bearer token instead."""

    url: str
    broker: str
    amqp_url: str | None = None
    client: tuple[str, str] | None = None
    token: str | None = None
    timeout_s: float = 15.0
    silence_s: float = 2.0
    tolerance_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Event:
    """An event as it was delivered. What only AMQP has is None where it came by Server-Sent Events."""

    body: Mapping[str, Any]
    at: float
    moment: int
    routing_key: str | None = None
    headers: Mapping[str, Any] | None = None
    message_id: str | None = None
    content_type: str | None = None
    delivery_mode: int | None = None

    @property
    def type(self) -> str:
        """Its type."""
        return str(self.body["metadata"]["type"])

    @property
    def id(self) -> str:
        """Its id."""
        return str(self.body["metadata"]["id"])

    @property
    def vehicle_id(self) -> str:
        """Whose it is."""
        return str(self.body["metadata"]["vehicle_id"])


class SiteError(Exception):
    """The gateway cannot be reached or used; the message is for people."""


class Site:
    """One gateway under test. Phases are played once, when the first check asks; everything goes into one log."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self.log: list[str] = []
        self.answers: list[tuple[str, httpx2.Response]] = []
        self.seen: list[Event] = []
        self.captured: list[Capture] = []
        self.seals: dict[str, bytes] = {}
        self.commands: dict[str, dict[int, bytes]] = {}
        self.added: list[str] = []
        self.units: list[PlayedUnit] = []
        self.clock_s = 0.0
        self._phases: dict[str, Any] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._http = httpx2.Client(base_url=access.url.rstrip("/"), timeout=60)
        self._token = access.token
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self.models = modeldb.load()
        self._captures: Captures | None = None
        self._amqp: Any = None

    # The API -------------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Get a token, measure the clock, begin to hear events. Raises SiteError."""
        try:
            began = time.time()
            answer = self._http.get("/healthz")
            self._measure(answer, began)
            if self._token is None:
                if self.access.client is None:
                    raise SiteError("--client ID:SECRET is wanted (or --token)")
                granted = self.token()
                if granted.status_code != 200:
                    raise SiteError(f"POST /oauth2/token answers {granted.status_code}: {granted.text[:200]}")
                self._token = str(granted.json()["access_token"])
        except httpx2.HTTPError as error:
            raise SiteError(f"{self.access.url}: {error}") from error
        self._hear()

    def _measure(self, answer: httpx2.Response, began: float) -> None:
        from email.utils import parsedate_to_datetime

        said = answer.headers.get("date")
        if said:
            self.clock_s = parsedate_to_datetime(said).timestamp() + 0.5 - (began + time.time()) / 2

    def token(self, scope: str | None = None, client: tuple[str, str] | None = None, **form: str) -> httpx2.Response:
        """What POST /oauth2/token answers."""
        known = client or self.access.client
        if known is None:
            raise NotExecuted("the kit has a token and no client", "give --client ID:SECRET instead of --token")
        said = {"grant_type": "client_credentials", **({"scope": scope} if scope else {}), **form}
        answer = self._http.post("/oauth2/token", data=said, auth=known)
        self._note_answer("POST /oauth2/token", answer)
        return answer

    def call(self, method: str, path: str, *, token: str | None = "", **request: Any) -> httpx2.Response:
        """One request with the kit's token, another, or (None) without."""
        headers = dict(request.pop("headers", {}))
        shown = self._token if token == "" else token
        if shown is not None:
            headers.setdefault("Authorization", f"Bearer {shown}")
        answer = self._http.request(method, path, headers=headers, **request)
        self._note_answer(f"{method} {path}", answer)
        return answer

    def _note_answer(self, what: str, answer: httpx2.Response) -> None:
        with self._lock:
            self.answers.append((what, answer))
        shown = "(secrets)" if "oauth2" in what or "credentials" in answer.text[:2000] else answer.text[:160]
        self.note(f"{what} -> {answer.status_code} {shown}")

    def note(self, line: str) -> int:
        """A line in the log; its number."""
        with self._lock:
            self.log.append(f"{time.time():.3f} {line}")
            return len(self.log) - 1

    def fresh_id(self, brand: str) -> str:
        """An id that no unit has yet."""
        match brand:
            case "CLOUDBOXX":
                return f"C0F0{secrets.token_hex(6).upper()}"
            case "TELTONIKA":
                digits = f"35{secrets.randbelow(10**12):012}"
                return next(f"{digits}{check}" for check in range(10) if luhn_holds(f"{digits}{check}"))
            case "MERCEDES_BENZ":
                return "W1N" + "".join(secrets.choice(VIN_LETTERS) for _ in range(14))
        return "LGX" + "".join(secrets.choice(VIN_LETTERS) for _ in range(14))

    def model(self, brand: str = "CLOUDBOXX", *, able: str = "unlock-central-lock") -> VehicleModel:
        """A model of the brand that the gateway offers and the kit knows, fitted for a command. Raises NotExecuted."""

        def play() -> dict[str, Any]:
            answer = self.call("GET", f"/telematics-brands/{brand}/available-vehicle-models")
            items = answer.json()["items"] if answer.status_code == 200 else []
            return {each["id"]: each for each in items}

        offered = self.phase(f"the models of {brand}", play)
        known = [each for each in self.models.available(brand) if each.id in offered and able in each.units[brand].commands]
        if not known:
            raise NotExecuted(
                f"the gateway offers no model of {brand} that the kit knows and that can {able}",
                "install the same teleloop on both sides",
            )
        return next((each for each in known if each.type == "DEV_KIT"), known[0])

    def body(
        self, brand: str = "CLOUDBOXX", unit: str | None = None, model: VehicleModel | None = None, **more: Any
    ) -> dict[str, Any]:
        """What adds a vehicle."""
        chosen = model or self.model(brand)
        return {
            "telematics_brand": brand,
            "telematics_unit_id": unit or self.fresh_id(brand),
            "vehicle_model_id": chosen.id,
            "tags": [TAG],
            **more,
        }

    def add(self, brand: str = "CLOUDBOXX", **more: Any) -> dict[str, Any]:
        """A vehicle of the kit's own. Raises NotExecuted where the gateway does not take it."""
        answer = self.call("POST", "/vehicles", json=self.body(brand, **more))
        if answer.status_code != 201:
            said = answer.text[:200]
            if answer.status_code == 422 and "unsealed" in said:
                raise NotExecuted(
                    f"the gateway takes no vehicles of the unsealed brand {brand}", "run it with TELELOOP_TRUST_BROKER=true"
                )
            raise NotExecuted(f"POST /vehicles answers {answer.status_code}: {said}", "see ONE-VEH-001")
        vehicle: dict[str, Any] = answer.json()
        self.took(vehicle)
        return vehicle

    def took(self, vehicle: Mapping[str, Any]) -> None:
        """Remember a vehicle of the kit's own, with its secrets."""
        self.added.append(vehicle["id"])
        said = vehicle["credentials"]
        unit = said["user_name"].partition("/")[2]
        self.seals[unit] = bytes.fromhex(said["seal_key"])
        self.commands.setdefault(unit, {})[said["generation"]] = bytes.fromhex(said["command_key"])

    def state(self, vehicle_id: str) -> dict[str, Any]:
        """The latest state as the API shows it."""
        answer = self.call("GET", f"/vehicles/{vehicle_id}/latest-vehicle-state")
        found: dict[str, Any] = answer.json() if answer.status_code == 200 else {}
        return found

    def values(self, vehicle_id: str) -> dict[str, Any]:
        """Property to value."""
        return {key: said["value"] for key, said in self.state(vehicle_id).items()}

    def quarantined(self, unit: UnitId) -> list[dict[str, Any]]:
        """What the quarantine has of a unit, newest first."""
        answer = self.call("GET", "/quarantine", params={"limit": 100})
        if answer.status_code != 200:
            raise NotExecuted(f"GET /quarantine answers {answer.status_code}", "give a client with the scope vehicles.ro")
        items = answer.json()["items"]
        return [each for each in items if (each["telematics_unit"]["brand"], each["telematics_unit"]["id"]) == tuple(unit)]

    # Events --------------------------------------------------------------------------------------------------------------

    def _hear(self) -> None:
        if self.access.amqp_url is not None:
            try:
                asyncio.run_coroutine_threadsafe(self._consume(self.access.amqp_url), self._loop).result(20)
            except Exception as error:
                raise SiteError(f"RabbitMQ cannot be used: {type(error).__name__}: {error}") from error
        else:
            client = httpx2.Client(timeout=None)  # made here: it reads the environment, which others may be changing later
            threading.Thread(target=self._stream, args=(client,), daemon=True).start()
            time.sleep(0.5)

    async def _consume(self, url: str) -> None:
        self._amqp = await aio_pika.connect(url)
        channel = await self._amqp.channel()
        self.exchange = await channel.get_exchange("events", ensure=True)
        queue = await channel.declare_queue("", exclusive=True, auto_delete=True)
        await queue.bind("events", "#")
        await queue.consume(self._delivered, no_ack=True)

    async def _delivered(self, message: Any) -> None:
        self._event(
            message.body,
            routing_key=message.routing_key,
            headers=dict(message.headers or {}),
            message_id=message.message_id,
            content_type=message.content_type,
            delivery_mode=int(message.delivery_mode or 0),
        )

    def _stream(self, client: httpx2.Client) -> None:
        headers = {"Authorization": f"Bearer {self._token}"}
        while True:
            try:
                with client.stream("GET", self.access.url.rstrip("/") + "/events", headers=headers) as answer:
                    for line in answer.iter_lines():
                        if line.startswith("data:"):
                            self._event(line[5:].strip().encode())
            except httpx2.HTTPError:
                time.sleep(0.5)

    def _event(self, data: bytes, **facts: Any) -> None:
        try:
            body = json.loads(data)
            moment = self.note(f"event {body['metadata']['type']} of {body['metadata']['vehicle_id']} {body['metadata']['id']}")
        except (ValueError, KeyError, TypeError):
            self.note(f"an event that is none: {data[:200]!r}")
            return
        self.seen.append(Event(body, time.time(), moment, **facts))

    def amqp(self, work: Callable[[Any], Any]) -> Any:
        """Do something with a connection of its own to RabbitMQ. Raises NotExecuted where there is none."""
        if self.access.amqp_url is None:
            raise NotExecuted("the kit has no RabbitMQ to look at", "give --amqp-url")

        async def done() -> Any:
            connection = await aio_pika.connect(self.access.amqp_url)
            try:
                return await work(await connection.channel())
            finally:
                await connection.close()

        return asyncio.run_coroutine_threadsafe(done(), self._loop).result(20)

    def run(self, work: Any) -> Any:
        """A coroutine on the kit's own loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def events(self, vehicle_id: str, *types: str, since: int = 0) -> list[Event]:
        """The events of a vehicle seen so far, of these types if any are named."""
        return [each for each in self.seen[since:] if each.vehicle_id == vehicle_id and (not types or each.type in types)]

    def event(
        self,
        vehicle_id: str,
        type_: str,
        wanted: Callable[[Event], bool] = lambda each: True,
        since: int = 0,
        seconds: float | None = None,
    ) -> Event | None:
        """The first event that is wanted, seen or to come."""
        return self.until(lambda: next(filter(wanted, self.events(vehicle_id, type_, since=since)), None), seconds)

    def until(self, condition: Callable[[], T], seconds: float | None = None) -> T:
        """Poll until something true, at most so long; what it was in the end."""
        give_up = time.monotonic() + (self.access.timeout_s if seconds is None else seconds)
        while not (found := condition()) and time.monotonic() < give_up:
            time.sleep(POLL_S)
        return found

    def hush(self, seconds: float | None = None) -> None:
        """Wait as long as counts for silence."""
        time.sleep(self.access.silence_s if seconds is None else seconds)

    # Phases --------------------------------------------------------------------------------------------------------------

    def phase(self, name: str, play: Callable[[], T]) -> T:
        """What `play` gives, or raises NotExecuted: played once."""
        if name not in self._phases:
            self.note(f"--- {name}")
            try:
                self._phases[name] = play()
            except NotExecuted as error:
                self._phases[name] = error
        found = self._phases[name]
        if isinstance(found, NotExecuted):
            raise NotExecuted(found.reason, found.todo)
        played: T = found
        return played

    def of(self, requirement: Requirement) -> Any:
        """What the checks of a requirement look at: what came down for those of frames, else this site."""
        if requirement.side != "frame":
            return self
        if self._captures is None or len(self._captures.captured) != len(self.captured):
            self._captures = Captures(list(self.captured), Keys(self.seals, self.commands), self.log)
        return self._captures

    def about(self) -> dict[str, str]:
        """What a reader of the report has to know."""
        how = "AMQP" if self.access.amqp_url else "Server-Sent Events"
        return {
            "gateway": self.access.url,
            "clock": f"the gateway's is {self.clock_s:+.1f} s from the kit's (to half a second, by the Date header)",
            "events by": how,
            "timeout": f"{self.access.timeout_s:g} s",
            "tolerance": f"{self.access.tolerance_s:g} s",
        }

    def close(self) -> None:
        """Units leave; the kit's vehicles are archived."""
        for unit in self.units:
            unit.leave()
        for vehicle_id in dict.fromkeys(self.added):
            try:
                self.call("POST", f"/vehicles/{vehicle_id}/archive")
            except httpx2.HTTPError:
                break
        if self._amqp is not None:
            with contextlib.suppress(Exception):
                self.run(self._amqp.close())
        self._loop.call_soon_threadsafe(self._loop.stop)


# Units -------------------------------------------------------------------------------------------------------------------


@dataclass
class PlayedUnit:
    """A unit that the kit plays at the gateway's broker: it says what it is told to, and obeys in the `manner` it is told.

    Manners: `ok`, `silent`, `refuse`, `forge`, `replay`, `clock`, `reflect`. `requests` are the authentic requests that came.
    """

    site: Site
    vehicle: Mapping[str, Any]
    manner: str = "ok"
    sequence: int = field(default_factory=lambda: int(time.time()))
    down: list[tuple[float, bytes]] = field(default_factory=list)
    requests: list[tuple[float, Envelope, bytes]] = field(default_factory=list)
    client: MqttClient | None = None
    delay_s: float = 0.0
    locked: bool = True
    _since: int = 0

    @property
    def brand(self) -> str:
        """Its brand."""
        return str(self.vehicle["telematics_unit"]["brand"])

    @property
    def unit(self) -> UnitId:
        """Its brand and id."""
        return UnitId(self.brand, str(self.vehicle["telematics_unit"]["id"]))

    @property
    def id(self) -> str:
        """The vehicle's id."""
        return str(self.vehicle["id"])

    @property
    def protocol(self) -> Any:
        """What it speaks."""
        return load()[self.site.models.brands[self.brand].protocol]

    @property
    def model(self) -> VehicleModel:
        """Its vehicle's model."""
        return self.site.models.models[self.vehicle["model"]["id"]]

    @property
    def seal_key(self) -> bytes:
        """K_seal."""
        return bytes.fromhex(self.vehicle["credentials"]["seal_key"])

    @property
    def topic(self) -> str:
        """Its topics' beginning."""
        return f"v1/{self.unit}"

    def login(self, *, password: str | None = None, user: str | None = None, client_id: str | None = None) -> MqttClient:
        """A client with the unit's login, or another; not yet open."""
        name = user or str(self.unit)
        secret = self.vehicle["credentials"]["password"] if password is None else password
        topic = f"v1/{name}"
        said = Connect(
            client_id or name,
            False,
            30,
            user_name=name,
            password=secret.encode(),
            will=(f"{topic}/presence", b"offline", 1, True),
        )
        return MqttClient(self.site.access.broker, said, self._received)

    def come(self) -> "PlayedUnit":
        """Connect, listen, say online. Raises NotExecuted if the broker does not let it."""
        self.client = self.login()
        try:
            code = self.client.open()
        except WireError as error:
            raise NotExecuted(f"the broker cannot be reached: {error}", "see --broker") from error
        if code:
            raise NotExecuted(
                f"the broker refuses the credentials that the gateway gave out (return code {code})", "see ONE-MQTT-001"
            )
        self.client.subscribe(f"{self.topic}/down")
        self.client.publish(f"{self.topic}/presence", b"online", retain=True)
        self.site.units.append(self)
        return self

    def leave(self, *, orderly: bool = True) -> None:
        """Say offline and disconnect, or (not orderly) vanish so that the will is sent."""
        if self.client is not None and not self.client.lost.is_set():
            if orderly:
                self.client.publish(f"{self.topic}/presence", b"offline", retain=True)
            self.client.close(orderly=orderly)

    def say(self, payload: bytes, what: str = "") -> int:
        """Publish on `up`; the line in the log."""
        assert self.client is not None
        self._since = len(self.down)
        moment = self.site.note(f"{self.unit} says {what}: {len(payload)} bytes {payload.hex()[:160]}")
        self.client.publish(f"{self.topic}/up", payload)
        return moment

    def signals(self, **state: Any) -> dict[str, Any]:
        """The raw signals that say a state."""
        return dict(self.model.units[self.brand].invert(state))

    def frame(
        self,
        kind: str = "state",
        *,
        at_ms: int | None = None,
        sequence: int | None = None,
        oldest: int | None = None,
        key: bytes | None = None,
        unit: str | None = None,
        flags: int = 0,
        facts: Mapping[str, Any] | None = None,
        raw: Mapping[str, Any] | None = None,
        **state: Any,
    ) -> bytes:
        """A CloudBoxx frame of this unit; its sequence counts up unless it is given."""
        if sequence is None:
            self.sequence = sequence = (self.sequence + 1) % MODULUS
        at = int(time.time() * 1000) if at_ms is None else at_ms
        said = {
            "oldest_sequence": sequence if oldest is None else oldest,
            **(self.signals(**state) if state else {}),
            **(raw or {}),
        }
        reports = (Report(b"", at, said, sequence),) if kind in ("state", "event") else ()
        frame = Frame(kind, unit or self.unit.telematics_unit_id, sequence, at, reports, {"flags": flags, **(facts or {})})
        data: bytes = self.protocol.encode(frame, self.seal_key if key is None else key)
        return data

    def report(self, what: str = "a state", **how: Any) -> tuple[int, bytes]:
        """Say a state; its sequence and its bytes."""
        data = self.frame(**how)
        self.say(data, what)
        return int.from_bytes(data[12:16], "little"), data

    def frames(self, since: int = 0) -> list[Frame]:
        """What came down, decoded and its seal checked."""
        found = []
        for _, payload in self.down[since:]:
            for cut in self.protocol.split(payload):
                try:
                    found.append(self.protocol.decode(cut.data, Peer(self.unit.telematics_unit_id, (self.seal_key,))))
                except ProtocolError:
                    continue
        return found

    def acked(self, sequence: int, seconds: float | None = None) -> Frame | None:
        """The Ack that covers a sequence: cumulative, or by its bitmap."""

        def covers(frame: Frame) -> bool:
            if frame.kind != "ack":
                return False
            ahead = (sequence - frame.facts["cumulative"]) % MODULUS
            return ahead == 0 or ahead >= MODULUS // 2 or (ahead <= 32 and bool(frame.facts["bitmap"] >> ahead - 1 & 1))

        return self.site.until(lambda: next(filter(covers, self.frames()), None), seconds)

    def answers(self, seconds: float | None = None, count: int = 1) -> list[bytes]:
        """The payloads that came down since the last `say`."""
        self.site.until(lambda: len(self.down) - self._since >= count, seconds)
        return [payload for _, payload in self.down[self._since :]]

    # Obeying -------------------------------------------------------------------------------------------------------------

    def _received(self, said: Publish) -> None:
        if said.topic != f"{self.topic}/down":
            self.site.note(f"{self.unit} hears on {said.topic}")
            return
        self.down.append((time.time(), said.payload))
        moment = self.site.note(f"{self.unit} hears {len(said.payload)} bytes {said.payload.hex()[:160]}")
        capture = Capture(self.protocol, said.payload, self.unit, "down", time.time(), "the gateway", moment)
        self.site.captured.append(capture)
        if self.brand == "CLOUDBOXX":
            self._obey(said.payload)

    def _obey(self, payload: bytes) -> None:
        keys = self.site.commands.get(self.unit.telematics_unit_id, {})
        for cut in self.protocol.split(payload):
            try:
                frame = self.protocol.decode(cut.data, Peer(self.unit.telematics_unit_id, (self.seal_key,)))
                if frame.kind != "command":
                    continue
                request = envelope.open(frame.facts["envelope"], self.unit.telematics_unit_id, keys)
            except ProtocolError as error:
                self.site.note(f"{self.unit} hears a command that is refused: {error}")
                continue
            self.requests.append((time.time(), request, frame.facts["envelope"]))
            threading.Timer(self.delay_s, self._answer, (request, frame.facts["envelope"])).start()

    def _answer(self, request: Envelope, raw: bytes) -> None:
        match self.manner:
            case "silent":
                return
            case "refuse":
                self.result(request, Result.PRECONDITION, b"ignition_on")
            case "forge":
                self.result(request, Result.OK, key=bytes(32))
            case "reflect":
                self.say(self.frame("result", facts={"envelope": raw}), "the request, reflected")
            case "replay" if len(self.requests) == 1:
                self.result(request, Result.REPLAY, (request.counter + 1_000_000_000).to_bytes(8, "big"))
            case "clock" if len(self.requests) == 1:
                self.result(request, Result.CLOCK, b"noncenon")
            case _:
                self.done(request)

    def done(self, request: Envelope) -> None:
        """Say that it was done, with the state that follows."""
        if request.command in (0x0101, 0x0105):
            self.locked = False
        elif request.command in (0x0102, 0x0106):
            self.locked = True
        self.result(request, Result.OK)

    def result(self, request: Envelope, result: Result, detail: bytes = b"", key: bytes | None = None) -> None:
        """A result with the state behind it."""
        secret = self.site.commands[self.unit.telematics_unit_id][request.key_id] if key is None else key
        sealed = envelope.close(request.response(result, detail), self.unit.telematics_unit_id, secret)
        data = self.frame("result", facts={"envelope": sealed})
        data += self.frame(central_lock="LOCKED" if self.locked else "UNLOCKED")
        self.say(data, f"result {result.name}")


def reseal(data: bytes, key: bytes) -> bytes:
    """A CloudBoxx frame with seal and CRC made anew."""
    from protocols.checksums import crc16_ccitt_false
    from protocols.seal import seal

    sealed = data[:-10] + seal(data[:-10], key)
    return sealed + crc16_ccitt_false(sealed).to_bytes(2, "little")


__all__ = ["Access", "Event", "PlayedUnit", "Sequence", "Site", "SiteError", "replace", "reseal"]
