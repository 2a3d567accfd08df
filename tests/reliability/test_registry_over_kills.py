"""Whatever the API has said yes to is there after kill -9 at any moment: vehicles, their data, consumers and their events."""

import itertools
import json
import random
import threading
import time
from pathlib import Path
from typing import Any

import httpx2
import pika
import pytest

from lab.gateway import GatewayProcess, gateway
from lab.outsider import DEV_KIT
from lab.rabbitmq import RabbitMQNode

KILLS, KILLS_AT_NIGHT = 2, 15
BETWEEN_KILLS_S = (0.3, 1.5)


class Customer:
    """Adds, changes, rents and archives vehicles without pause. `promised` is what it was told is so, by vehicle id."""

    def __init__(self, process: GatewayProcess, draw: random.Random) -> None:
        self._process, self._draw = process, draw
        self.promised: dict[str, dict[str, Any]] = {}
        self.unsure: set[str | None] = set()
        self.asked = 0
        self.stopped = False

    def work(self) -> None:
        """Until `stopped`; a request that gets no answer makes its vehicle unsure: it may be done, or not."""
        for number in itertools.count(1):
            if self.stopped:
                return
            vehicle_id = self._draw.choice([None, *self.promised]) if number > 1 else None
            try:
                answer = self._ask(number, vehicle_id)
            except (httpx2.ConnectError, OSError):  # it is not there, or has not said where
                time.sleep(0.05)
                continue
            except httpx2.HTTPError:
                self.unsure |= {vehicle_id} - {None}
                continue
            if answer.is_success:
                vehicle = answer.json()
                self.promised[vehicle["id"]] = vehicle
                self.unsure.discard(vehicle["id"])
                self.asked += 1

    def _ask(self, number: int, vehicle_id: str | None) -> httpx2.Response:
        path, call = f"/vehicles/{vehicle_id}", self._process.call
        if vehicle_id is None:
            unit = {"telematics_brand": "CLOUDBOXX", "telematics_unit_id": f"{number:016X}"}
            return call("POST", "/vehicles", json={**unit, "vehicle_model_id": DEV_KIT.id, "custom_fields": {"number": number}})
        match self._draw.randrange(4):
            case 0:
                return call("PATCH", path, json={"custom_fields": {"number": number}, "tags": [f"tag {number}"]})
            case 1:
                rented = self.promised[vehicle_id]["rental_status"] == "IN_RENTAL"
                return call("PUT", f"{path}/rental-status", json={"rental_status": "NOT_IN_RENTAL" if rented else "IN_RENTAL"})
            case 2:
                return call("POST", f"{path}/archive")
            case _:
                return call("POST", f"{path}/restore")


def kept(vehicle: dict[str, Any]) -> dict[str, Any]:
    """What of a vehicle is the customer's own doing."""
    names = ("telematics_unit", "custom_fields", "tags", "rental_status", "status", "created_at", "archived_at")
    return {name: vehicle[name] for name in names}


def events_of(url: str, queue: str) -> list[dict[str, Any]]:
    """Everything in the queue."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        events = []
        for method, _, body in channel.consume(queue, inactivity_timeout=3):
            if method is None:
                return events
            events.append(json.loads(body))
            channel.basic_ack(method.delivery_tag)
    raise AssertionError("consume ends by itself")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kills", [KILLS, pytest.param(KILLS_AT_NIGHT, marks=pytest.mark.night)])
def test_what_the_api_said_yes_to_is_there_after_kill_9(
    tmp_path: Path, amqp_url: str, rabbitmq_node: RabbitMQNode, kills: int
) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print("seed", seed)
    draw = random.Random(seed)
    settings = {"TELELOOP_AMQP_URL": amqp_url, "TELELOOP_AMQP_MANAGEMENT_URL": rabbitmq_node.management_url}
    with gateway(tmp_path / "gateway", settings) as process:
        added = process.call("POST", "/event-consumers", json={"name": "books", "topics": ["All"]})
        consumer = added.json()
        customer = Customer(process, draw)
        working = threading.Thread(target=customer.work)
        working.start()
        for _ in range(kills):
            before = customer.asked
            while customer.asked == before:
                time.sleep(0.01)
            time.sleep(draw.uniform(*BETWEEN_KILLS_S))
            process.kill()
            process.start()
        customer.stopped = True
        working.join()
        process.kill()
        process.start()
        found = {
            each["id"]: kept(each)
            for archived in ("false", "true")
            for each in process.call("GET", "/vehicles", params={"archived": archived, "limit": 1000}).json()["items"]
        }
        sure = customer.promised.keys() - customer.unsure
        assert sure
        assert {each: found[each] for each in sure} == {each: kept(customer.promised[each]) for each in sure}
        assert customer.unsure <= found.keys()
        assert process.call("GET", f"/event-consumers/{consumer['id']}").json()["topics"] == ["All"]
        events = events_of(consumer["credentials"]["url"], consumer["queues"][0]["name"])
    told = {(each["metadata"]["type"], each["metadata"]["vehicle_id"]) for each in events}
    assert {each for kind, each in told if kind == "VehicleCreated"} >= customer.promised.keys()
    gone = {each for each in sure if found[each]["status"] == "ARCHIVED"}
    assert {each for kind, each in told if kind == "VehicleRemoved"} >= gone
    last = {each["metadata"]["vehicle_id"]: each["vehicle"] for each in events if "vehicle" in each}
    assert {each: kept(last[each]) for each in sure} == {each: found[each] for each in sure}
