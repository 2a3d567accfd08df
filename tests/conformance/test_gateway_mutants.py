"""The kit proves itself on gateways: ours keeps to every requirement, and each that is wrong in one thing is caught by it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.conformance.cli import GATEWAY_FRAMES
from bench.conformance.requirement import Judged, Requirement, requirements
from bench.conformance.run import judge
from bench.conformance.site import Access, Site
from lab import gateway_mutants
from lab.gateway import GatewayProcess
from lab.gateway_mutants import MUTANTS, Mutant
from lab.process import free_port

SHORT = (
    "the CRC is not checked",
    "answers have no flow id",
    "a missing scope is called not found",
    "Beijing time is taken for UTC",
)


@contextmanager
def site(folder: Path, name: str, amqp_url: str | None = None, management: str | None = None) -> Iterator[Site]:
    """A gateway with one thing wrong (none: an empty name), seen by the kit."""
    environment = {"TELELOOP_TRUST_BROKER": "true", "TELELOOP_MQTT_PORT": str(free_port())}
    environment |= {"TELELOOP_AMQP_URL": amqp_url} if amqp_url else {}
    environment |= {"TELELOOP_AMQP_MANAGEMENT_URL": management} if management else {}
    process = GatewayProcess(folder, environment, [sys.executable, gateway_mutants.__file__, name])
    process.start()
    try:
        client = process.call(
            "POST", "/clients", json={"name": "kit", "scopes": ["vehicles", "vehicle-commands", "event-consumers"]}
        )
        login = client.json()["id"], client.json()["secret"]
        seen = Site(Access(process.url, process.units_broker, amqp_url, login, tolerance_s=10.0, timeout_s=20.0))
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


def caught(mutant: Mutant, folder: Path, amqp_url: str | None) -> None:
    requirement = requirements()[mutant.caught_by]
    with site(folder / "broken", mutant.name, amqp_url if mutant.amqp else None) as seen:
        [found] = judge([requirement], seen)
        said = "\n".join(seen.log[-25:])
    assert found.verdict == "fail", f"{mutant.caught_by} says {found.verdict}: {found.reason}\n{said}"


@pytest.mark.timeout(400)
def test_our_gateway_keeps_to_every_requirement(tmp_path: Path, amqp_url: str, rabbitmq_node: Any):
    management = f"http://lab:lab@127.0.0.1:{rabbitmq_node.management_port}"
    with site(tmp_path / "ours", "", amqp_url, management) as seen:
        found = judge(of_gateways(), seen)
    assert failed(found) == []
    skipped = {each.requirement.id: each.reason for each in found if each.verdict == "not_executed"}
    assert skipped.keys() <= {"ONE-MQTT-005"}, skipped


@pytest.mark.parametrize("name", SHORT)
def test_a_broken_gateway_is_caught_by_the_requirement_that_is_meant_to(name: str, tmp_path: Path):
    caught(MUTANTS[name], tmp_path, None)


@pytest.mark.night
@pytest.mark.parametrize("name", [each for each in MUTANTS if each not in SHORT])
def test_every_other_broken_gateway_is_caught_too(name: str, tmp_path: Path, request: pytest.FixtureRequest):
    caught(MUTANTS[name], tmp_path, request.getfixturevalue("amqp_url") if MUTANTS[name].amqp else None)


def test_there_are_forty_mutants_and_each_names_a_requirement():
    from lab.unit_mutants import MUTANTS as OF_UNITS

    assert len(MUTANTS) + len(OF_UNITS) >= 40
    assert {each.caught_by for each in (*MUTANTS.values(), *OF_UNITS)} <= requirements().keys()
