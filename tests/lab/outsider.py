"""What somebody outside has: a client of the API, and units on real connections."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx2

import modeldb
from lab.gateway import Added, LineUnit, now_ms
from lab.process import wait_until

T = TypeVar("T")
MODELS = modeldb.load()
FLOW_ID = "X-INVERS-Flow-ID"
DEV_KIT = next(model for model in MODELS.available("CLOUDBOXX") if model.type == "DEV_KIT")
_numbers = itertools.count(1)


def fresh_unit(brand: str) -> str:
    """An id that no unit of the brand has yet."""
    number = next(_numbers)
    match brand:
        case "CLOUDBOXX":
            return f"{0xACCE << 48 | number:016X}"
        case "TELTONIKA":
            digits = f"35{number:012d}"
            return digits + next(each for each in "0123456789" if _luhn(digits + each))
        case _:
            return f"W1K1770841N{number:06d}"


def _luhn(digits: str) -> bool:
    doubled = [int(digit) * (1 + index % 2) for index, digit in enumerate(reversed(digits))]
    return sum(number // 10 + number % 10 for number in doubled) % 10 == 0


@dataclass
class Road:
    """Where units are online, on an event loop of its own: tests wait for answers without holding units up."""

    broker: str
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    parked: list[Callable[[], None]] = field(default_factory=list)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` where the units are."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def put(self, added: Added, *, firmware: bool = True) -> LineUnit:
        """The unit of a vehicle, online until the end of the test. Without `firmware` it only says what it is told to."""
        unit, arrived, leaves = LineUnit(added, self.broker), threading.Event(), asyncio.Event()

        async def stay() -> None:
            async with unit.online(firmware):
                arrived.set()
                await leaves.wait()

        staying: Future[None] = asyncio.run_coroutine_threadsafe(stay(), self.loop)

        def leave() -> None:
            self.loop.call_soon_threadsafe(leaves.set)
            staying.exception(10)

        wait_until(lambda: arrived.is_set() or staying.done(), 15, f"{unit.id} online")
        if staying.done():
            staying.result()
        self.parked.append(leave)
        if firmware:
            wait_until(lambda: not unit.flash.journal, 15, f"every frame of {unit.id} acknowledged")
        return unit

    def wake(self, unit: LineUnit) -> None:
        """A unit without its firmware says hello once, and is deaf from then on."""
        self.run(unit.say(unit.unit.connected(now_ms())))

    def clear(self) -> None:
        """All units leave."""
        while self.parked:
            self.parked.pop()()


@dataclass(frozen=True)
class Client:
    """A client of the API: a token, and what a customer does with it."""

    url: str
    token: str | None

    def call(self, method: str, path: str, **request: Any) -> httpx2.Response:
        """One request; the answer carries a flow id, whatever it says."""
        headers = dict(request.pop("headers", {}))
        if self.token is not None:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        answer = httpx2.request(method, self.url + path, headers=headers, timeout=60, **request)
        assert answer.headers[FLOW_ID]
        return answer

    def get(self, path: str, **params: Any) -> Any:
        """The document of a GET that has to go well."""
        answer = self.call("GET", path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def add(self, model: Any = None, brand: str = "CLOUDBOXX", **more: Any) -> Added:
        """A vehicle with a fresh unit: of that model, or a dev kit."""
        model_id = (model or DEV_KIT).id
        body = {"telematics_brand": brand, "telematics_unit_id": fresh_unit(brand), "vehicle_model_id": model_id, **more}
        answer = self.call("POST", "/vehicles", json=body)
        assert answer.status_code == 201, answer.text
        return Added(answer.json())

    def command(self, vehicle_id: str, name: str, timeout: float = 20, **headers: str) -> httpx2.Response:
        """A command; `Idempotency_Key` becomes its header."""
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.call("POST", f"/vehicles/{vehicle_id}/commands/{name}", params={"timeout": timeout}, headers=said)

    def state(self, vehicle_id: str) -> dict[str, Any]:
        """The latest state: property to value."""
        return {key: said["value"] for key, said in self.get(f"/vehicles/{vehicle_id}/latest-vehicle-state").items()}


def problem(answer: httpx2.Response, status: int) -> dict[str, Any]:
    """The problem document of an answer: RFC 9457, with the flow id that the header has."""
    assert answer.status_code == status, f"{answer.status_code} {answer.text}"
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["status"] == status
    assert {"type", "title", "flow_id"} <= document.keys()
    assert document["flow_id"] == answer.headers[FLOW_ID]
    return document
