"""The integration guide's program keeps a copy of a fleet that is right, whatever ends in between."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.gateway import GatewayProcess, LineUnit, eventually, gateway
from lab.process import Server
from lab.rabbitmq import RabbitMQNode
from protocols.codec import UnitId

GUIDE = Path(__file__).parents[2] / "docs" / "integration-guide.md"
WAIT_S = 30.0


@pytest.fixture
def teleloop(tmp_path: Path, amqp_url: str, rabbitmq_node: RabbitMQNode) -> Iterator[GatewayProcess]:
    settings = {"TELELOOP_AMQP_URL": amqp_url, "TELELOOP_AMQP_MANAGEMENT_URL": rabbitmq_node.management_url}
    with gateway(tmp_path / "gateway", settings) as process:
        yield process


@pytest.fixture
def mirror(teleloop: GatewayProcess, tmp_path: Path) -> Iterator[Server]:
    """The guide's program, not started yet."""
    found = re.search(r"<!-- mirror -->\n```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert found
    folder = tmp_path / "mirror"
    folder.mkdir()
    (folder / "mirror.py").write_text(found[1])
    made = teleloop.call("POST", "/clients", json={"name": "mirror", "scopes": ["vehicles.ro", "event-consumers"]}).json()
    login = {"TELELOOP_URL": teleloop.url, "TELELOOP_CLIENT": made["id"], "TELELOOP_SECRET": made["secret"]}
    program = Server([sys.executable, "mirror.py"], folder, login)
    yield program
    program.stop()


def truth(teleloop: GatewayProcess) -> dict[str, Any]:
    """The fleet as the API shows it."""
    states = {
        each["vehicle_id"]: each["vehicle_state"] for each in teleloop.call("GET", "/latest-vehicle-states").json()["items"]
    }
    vehicles = teleloop.call("GET", "/vehicles").json()["items"]
    return {vehicle["id"]: {"vehicle": vehicle, "state": states[vehicle["id"]]} for vehicle in vehicles}


def lasting(fleet: dict[str, Any]) -> dict[str, Any]:
    """A fleet without what changes with every frame and makes no event."""
    for each in fleet.values():
        for passing in ("last_contact_at", "firmware"):
            each["vehicle"]["telematics_unit"].pop(passing, None)
    return fleet


def is_right(teleloop: GatewayProcess, mirror: Server) -> Callable[[], bool]:
    def compare() -> bool:
        copy = mirror.folder / "fleet.json"
        assert mirror.running, mirror.output
        return copy.exists() and lasting(json.loads(copy.read_text())) == lasting(truth(teleloop))

    return compare


@pytest.mark.timeout(240)
async def test_the_copy_is_right_through_changes_and_outages(
    teleloop: GatewayProcess, mirror: Server, rabbitmq_node: RabbitMQNode
) -> None:
    model = teleloop.call("GET", "/telematics-brands/CLOUDBOXX/available-vehicle-models").json()["items"][0]["id"]

    def added(number: int) -> Any:
        return teleloop.add(UnitId("CLOUDBOXX", f"{number:016X}"), model)

    async def comes_right(when: str) -> None:
        await eventually(is_right(teleloop, mirror), WAIT_S, when)

    first = added(1)
    mirror.start()
    await comes_right("listed")
    second, third = added(2), added(3)
    async with LineUnit(second, teleloop.units_broker).online():
        await eventually(lambda: teleloop.state(second["id"]), WAIT_S, "a state")
        teleloop.call("POST", f"/vehicles/{third['id']}/archive")
        await comes_right("followed")
        mirror.kill()
        teleloop.call("POST", f"/vehicles/{third['id']}/restore")
        teleloop.call("PATCH", f"/vehicles/{first['id']}", json={"tags": ["changed"]})
        mirror.start()
        await comes_right("away for a while")
        mirror.kill()
        consumer = json.loads((mirror.folder / "consumer.json").read_text())
        vhost, queue = consumer["credentials"]["virtual_host"], consumer["queues"][0]["name"]
        rabbitmq_node.management("DELETE", f"/queues/{vhost}/{queue}")
        teleloop.call("POST", f"/vehicles/{first['id']}/archive")
        mirror.start()
        await comes_right("away for so long that the queue has expired")
        added(4)
        await comes_right("followed again")
    await comes_right("offline")
    assert len(truth(teleloop)) == 3
    assert (mirror.folder / "consumer.json").stat().st_mode & 0o777 == 0o600
