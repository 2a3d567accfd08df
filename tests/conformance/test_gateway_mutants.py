"""The kit proves itself on gateways: ours keeps to every requirement, and each that is wrong in one thing is caught by it."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from bench.conformance.cli import GATEWAY_FRAMES
from bench.conformance.requirement import Judged, Requirement, requirements
from bench.conformance.run import judge
from bench.conformance.site import Access, Site
from lab.gateway import GatewayProcess
from lab.gateway_mutants import MUTANTS, Launcher, Mutant
from lab.process import free_port, wait_until

START_LIMIT_S = 90.0
SHORT = (
    "the CRC is not checked",
    "answers have no flow id",
    "a missing scope is called not found",
    "Beijing time is taken for UTC",
)


class Mutated(GatewayProcess):
    """A gateway with one thing wrong, forked from a process that has imported everything."""

    def __init__(self, launcher: Launcher, name: str, folder: Path, environment: dict[str, str]) -> None:
        super().__init__(folder, environment)
        settings = {"TELELOOP_DATA": str(self.data), "TELELOOP_HTTP": "127.0.0.1:0", **environment}
        self.group = launcher.launch(name, folder, settings)
        wait_until((self.data / "gateway.json").exists, START_LIMIT_S, f"the gateway ({name})")

    def stop(self, timeout_s: float = 10.0) -> None:
        """End it with all that it started."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.group, number)
            give_up = time.monotonic() + timeout_s
            while self._lives() and time.monotonic() < give_up:
                time.sleep(0.05)

    def _lives(self) -> bool:
        try:
            os.killpg(self.group, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return True


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    found = Launcher()
    yield found
    found.close()


@contextmanager
def site(
    launcher: Launcher,
    folder: Path,
    name: str,
    amqp_url: str | None = None,
    management: str | None = None,
    broker: str | None = None,
) -> Iterator[Site]:
    """A gateway with one thing wrong (none: an empty name), seen by the kit."""
    environment = {"TELELOOP_TRUST_BROKER": "true", "TELELOOP_MQTT_PORT": str(free_port())}
    environment |= {"TELELOOP_AMQP_URL": amqp_url} if amqp_url else {}
    environment |= {"TELELOOP_MQTT_URL": broker} if broker else {}
    environment |= {"TELELOOP_AMQP_MANAGEMENT_URL": management} if management else {}
    process = Mutated(launcher, name, folder, environment)
    try:
        wanted = {"name": "kit", "scopes": ["vehicles", "vehicle-commands", "event-consumers"]}
        client = process.call("POST", "/clients", json=wanted).json()
        login = client["id"], client["secret"]
        seen = Site(Access(process.url, broker or process.units_broker, amqp_url, login, tolerance_s=10.0, timeout_s=20.0))
        seen.open()
        try:
            yield seen
        finally:
            seen.close()
    finally:
        process.stop()


def of_gateways() -> list[Requirement]:
    among = requirements().values()
    return [each for each in among if each.side == "gateway"] + [each for each in among if each.id in GATEWAY_FRAMES]


def failed(found: list[Judged]) -> list[str]:
    return [f"{each.requirement.id}: {each.reason}" for each in found if each.verdict == "fail" or each.kit_failed]


def caught(launcher: Launcher, mutant: Mutant, folder: Path, amqp_url: str | None, broker: str | None = None) -> None:
    requirement = requirements()[mutant.caught_by]
    with site(launcher, folder / "broken", mutant.name, amqp_url if mutant.amqp else None, broker=broker) as seen:
        [found] = judge([requirement], seen)
        said = "\n".join(seen.log[-25:])
    assert found.verdict == "fail", f"{mutant.caught_by} says {found.verdict}: {found.reason}\n{said}"


@pytest.mark.timeout(400)
def test_our_gateway_keeps_to_every_requirement(launcher: Launcher, tmp_path: Path, amqp_url: str, rabbitmq_node: Any):
    management = f"http://lab:lab@127.0.0.1:{rabbitmq_node.management_port}"
    with site(launcher, tmp_path / "ours", "", amqp_url, management) as seen:
        found = judge(of_gateways(), seen)
    assert failed(found) == []
    skipped = {each.requirement.id: each.reason for each in found if each.verdict == "not_executed"}
    assert skipped.keys() <= {"ONE-MQTT-005"}, skipped


@pytest.mark.parametrize("name", SHORT)
def test_a_broken_gateway_is_caught_by_the_requirement_that_is_meant_to(name: str, launcher: Launcher, tmp_path: Path):
    caught(launcher, MUTANTS[name], tmp_path, None)


@pytest.mark.night
@pytest.mark.parametrize("name", [each for each in MUTANTS if each not in SHORT])
def test_every_other_broken_gateway_is_caught_too(name: str, launcher: Launcher, tmp_path: Path, request: pytest.FixtureRequest):
    amqp_url = request.getfixturevalue("amqp_url") if MUTANTS[name].amqp else None
    broker = request.getfixturevalue("mosquitto_broker").url if MUTANTS[name].mosquitto else None
    caught(launcher, MUTANTS[name], tmp_path, amqp_url, broker)


def test_there_are_forty_mutants_and_each_names_a_requirement():
    from lab.unit_mutants import MUTANTS as OF_UNITS

    assert len(MUTANTS) + len(OF_UNITS) >= 40
    assert {each.caught_by for each in (*MUTANTS.values(), *OF_UNITS)} <= requirements().keys()
