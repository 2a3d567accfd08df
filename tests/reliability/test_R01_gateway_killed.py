"""R1: whatever a unit's frame was acknowledged for is an event that a consumer gets, however often the gateway is killed."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import modeldb
from devices.config import Intervals
from devices.life import moving
from devices.vehicle import Vehicle
from lab.consumer import Consumer
from lab.gateway import GatewayProcess, LineUnit, eventually, gateway
from lab.ledger import Ledger, report_ids, tally
from lab.mosquitto import mosquitto
from lab.process import free_port
from protocols.codec import UnitId

UNITS = 60
KILLS = 5
BETWEEN_KILLS_S = (1.5, 3.0)
MODEL = next(model for model in modeldb.load().available("CLOUDBOXX") if model.type == "DEV_KIT")


@pytest.fixture(params=["mosquitto", "embedded"])
def killed_gateway(request: pytest.FixtureRequest, tmp_path: Path, amqp_url: str) -> Iterator[GatewayProcess]:
    """A gateway behind a Mosquitto of its own standing, or with its embedded broker."""
    environment = {"TELELOOP_AMQP_URL": amqp_url}
    with ExitStack() as stack:
        if request.param == "mosquitto":
            port, logins = free_port(), tmp_path / "logins"
            (tmp_path / "logins").touch()
            (tmp_path / "rules").touch()
            broker = stack.enter_context(
                mosquitto(tmp_path / "broker", port=port, password_file=logins, acl_file=tmp_path / "rules")
            )
            (tmp_path / "pid").write_text(str(broker.pid))
            environment |= {
                "TELELOOP_BROKER": "mosquitto",
                "TELELOOP_MQTT_URL": f"mqtt://gateway:secret-of-the-gateway@127.0.0.1:{port}",
                "TELELOOP_MOSQUITTO_PASSWORD_FILE": str(logins),
                "TELELOOP_MOSQUITTO_ACL_FILE": str(tmp_path / "rules"),
                "TELELOOP_MOSQUITTO_PID_FILE": str(tmp_path / "pid"),
            }
        else:
            environment["TELELOOP_MQTT_PORT"] = str(free_port())
        yield stack.enter_context(gateway(tmp_path / "gateway", environment))


@pytest.mark.timeout(300)
async def test_kill_9_of_the_gateway_loses_nothing(killed_gateway: GatewayProcess, amqp_url: str):
    seed = random.SystemRandom().randrange(1 << 32)
    print("seed", seed)
    draw = random.Random(seed)
    added = [killed_gateway.add(UnitId("CLOUDBOXX", f"{n:016X}"), MODEL.id) for n in range(UNITS)]
    units = [
        LineUnit(
            each,
            killed_gateway.units_broker,
            vehicle=Vehicle.of(MODEL, "CLOUDBOXX", seed=n, life=moving),
            intervals=Intervals(1, 1, 60),
        )
        for n, each in enumerate(added)
    ]
    with Consumer(amqp_url) as consumer:
        stopped = asyncio.Event()
        drained = asyncio.create_task(asyncio.to_thread(_pump, consumer, stopped))
        lives = [asyncio.create_task(unit.stay_online(stopped)) for unit in units]
        for _ in range(KILLS):
            await asyncio.sleep(draw.uniform(*BETWEEN_KILLS_S))
            killed_gateway.kill()
            await asyncio.to_thread(killed_gateway.start)
        until = {unit.id: unit.flash.sequence for unit in units}
        await eventually(
            lambda: all(min(unit.flash.journal, default=1 << 33) > until[unit.id] for unit in units),
            timeout_s=90,
            what="everything captured before the last kill is acknowledged",
        )
        stopped.set()
        await asyncio.gather(*lives)
        await drained
    names = dict(zip((unit.id for unit in units), (each["id"] for each in added), strict=True))
    ledger = Ledger(
        frozenset().union(*(report_ids(names[unit.id], unit.attempted.values()) for unit in units)),
        frozenset().union(*(report_ids(names[unit.id], unit.acknowledged.values()) for unit in units)),
        tally(each.id for each in consumer.seen if each.type == "VehicleStateRecorded"),
    )
    print(f"{len(ledger.attempted)} attempted, {len(ledger.acknowledged)} acknowledged, {ledger.duplicated} duplicated")
    assert len(ledger.acknowledged) > UNITS * KILLS
    assert ledger.lost == set()
    assert ledger.unexpected == set()


def _pump(consumer: Consumer, stopped: asyncio.Event) -> None:
    """Take what comes until `stopped`, and then all that is left. A consumer that does not read is cut off by RabbitMQ."""
    seen = -1
    while not stopped.is_set() or seen != len(consumer.seen):
        seen = len(consumer.seen)
        consumer.pump(1.0)
