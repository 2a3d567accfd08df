"""`teleloop conform consumer`: the example keeps to every rule; each consumer that breaks one is told which."""

import asyncio
import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pika
import pytest
from typer.testing import CliRunner

from bench.conformance.example_consumer import Copy, serve
from bench.conformance.grading import Consumer, Grading, GradingError
from bench.conformance.requirement import requirements, select
from bench.conformance.run import judge
from teleloop import app

RULES = [each for each in requirements().values() if each.side == "consumer"]


class Runner:
    """A consumer at work in a thread of its own, with its copy in a file; `restart` ends it wherever it is."""

    def __init__(self, kind: type[Copy], folder: Path, url: str, queue: str) -> None:
        self.kind, self.database, self.url, self.queue = kind, folder / "copy.sqlite", url, queue
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.begin()

    def begin(self) -> None:
        self.copy = self.kind(self.database)
        self.task = asyncio.run_coroutine_threadsafe(self._insist(), self.loop)

    async def _insist(self) -> None:
        """Begin again where something went wrong, as a service does."""
        while True:
            try:
                await self.copy.consume(self.url, self.queue)
            except asyncio.CancelledError:
                raise
            except Exception:
                await asyncio.sleep(0.2)

    def end(self) -> None:
        self.task.cancel()
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0.1), self.loop).result(10)

    def restart(self) -> None:
        self.end()
        self.begin()


@pytest.fixture
def queue(amqp_url: str) -> Iterator[tuple[str, str]]:
    connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
    connection.channel().queue_declare("copy", durable=True)
    yield amqp_url, "copy"
    connection.close()


def graded(kind: type[Copy], folder: Path, queue: tuple[str, str], only: str = "CON-*") -> dict[str, tuple[str, str]]:
    """The verdict and reason of each rule."""
    runner = Runner(kind, folder, *queue)
    grading = Grading(Consumer(*queue, callback="json:dumps", timeout_s=12.0))
    grading.hook = lambda vehicle_id: runner.copy.vehicle(vehicle_id)
    grading.restart = runner.restart  # type: ignore[method-assign]
    grading.consumer = Consumer(*queue, callback="json:dumps", restart_command="by the test", timeout_s=12.0)
    grading.open()
    try:
        return {each.requirement.id: (each.verdict, each.reason) for each in judge(select(RULES, [only]), grading)}
    finally:
        runner.end()
        grading.close()


def test_the_example_keeps_to_every_rule(tmp_path: Path, queue: tuple[str, str]):
    found = graded(Copy, tmp_path, queue)
    assert {name: reason for name, (verdict, reason) in found.items() if verdict != "pass"} == {}
    assert found.keys() == {each.id for each in RULES}


class AppliesTwice(Copy):
    """Remembers no ids."""

    def is_new(self, event_id: str) -> bool:
        return True


class TurnsBack(Copy):
    """Takes late reports for news."""

    def effect(self, event: Mapping[str, Any], vehicle_id: str) -> None:
        if event.get("late"):
            self.keep(vehicle_id, {**event["vehicle_state"], **event["changed"]})
        else:
            super().effect(event, vehicle_id)


class OnlyWhatChanged(Copy):
    """Takes what a report said for the whole state."""

    def effect(self, event: Mapping[str, Any], vehicle_id: str) -> None:
        super().effect({**event, "vehicle_state": event.get("changed")} if "changed" in event else event, vehicle_id)


class AcknowledgesFirst(Copy):
    """Acknowledges before its work is done."""

    async def take(self, message: Any) -> None:
        await message.ack()
        await asyncio.sleep(0.05)
        self.apply(json.loads(message.body))


class OneClockForAll(Copy):
    """Skips what is not newer than the newest of any vehicle."""

    newest = ""

    def effect(self, event: Mapping[str, Any], vehicle_id: str) -> None:
        at = event["metadata"]["occurred_at"]
        if event["metadata"]["type"] == "VehicleStateRecorded" and at < self.newest:
            return
        self.newest = max(self.newest, at)
        super().effect(event, vehicle_id)


class KeepsTheRemoved(Copy):
    """Knows no VehicleRemoved."""

    def effect(self, event: Mapping[str, Any], vehicle_id: str) -> None:
        if event["metadata"]["type"] != "VehicleRemoved":
            super().effect(event, vehicle_id)


class Stumbles(Copy):
    """Ends over what it does not know."""

    def effect(self, event: Mapping[str, Any], vehicle_id: str) -> None:
        if event["metadata"]["type"] == "SomethingNewHappened":
            raise KeyError(event["metadata"]["type"])
        super().effect(event, vehicle_id)


class ForgetsByRestart(Copy):
    """Keeps its copy in memory alone."""

    def __init__(self, database: Path) -> None:
        super().__init__(Path(":memory:"))
        self._database = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._database.executescript(
            "CREATE TABLE vehicle (id TEXT PRIMARY KEY, state TEXT NOT NULL DEFAULT '{}', trips INTEGER NOT NULL DEFAULT 0);"
            "CREATE TABLE seen (event_id TEXT PRIMARY KEY)"
        )


BAD: dict[str, type[Copy]] = {
    "CON-DUP-002": AppliesTwice,
    "CON-LATE-001": TurnsBack,
    "CON-STATE-002": OnlyWhatChanged,
    "CON-RESTART-001": AcknowledgesFirst,
    "CON-ORDER-001": OneClockForAll,
    "CON-REMOVED-001": KeepsTheRemoved,
    "CON-UNKNOWN-001": Stumbles,
    "CON-RESTART-002": ForgetsByRestart,
}
SHORT = ("CON-DUP-002", "CON-LATE-001", "CON-RESTART-001")


def _is_told(rule: str, folder: Path, queue: tuple[str, str]) -> None:
    verdict, reason = graded(BAD[rule], folder, queue, rule)[rule]
    assert verdict == "fail", reason


@pytest.mark.parametrize("rule", SHORT)
def test_a_bad_consumer_is_told_which_rule_it_broke(rule: str, tmp_path: Path, queue: tuple[str, str]):
    _is_told(rule, tmp_path, queue)


@pytest.mark.night
@pytest.mark.parametrize("rule", [each for each in BAD if each not in SHORT])
def test_every_other_bad_consumer_is_told_too(rule: str, tmp_path: Path, queue: tuple[str, str]):
    _is_told(rule, tmp_path, queue)


def test_the_command_asks_over_http_and_says_what_it_cannot_do(tmp_path: Path, queue: tuple[str, str]):
    runner = Runner(Copy, tmp_path, *queue)
    server = serve(runner.copy, 0)
    url = f"http://127.0.0.1:{server.server_address[1]}/{{vehicle_id}}"
    words = [
        "conform",
        "consumer",
        "--amqp-url",
        queue[0],
        "--queue",
        queue[1],
        "--state-url",
        url,
        "--only",
        "CON-STATE-*,CON-RESTART-001",
    ]
    try:
        done = CliRunner().invoke(app, [*words, "--json"])
    finally:
        runner.end()
        server.shutdown()
    assert done.exit_code == 0, done.output
    found = {each["id"]: each for each in json.loads(done.stdout)["requirements"]}
    assert found["CON-STATE-001"]["verdict"] == found["CON-STATE-002"]["verdict"] == "pass"
    assert found["CON-RESTART-001"]["verdict"] == "not_executed"
    assert "--restart-command" in found["CON-RESTART-001"]["evidence"]["todo"]


def test_what_cannot_be_graded_is_one_sentence(amqp_url: str):
    with pytest.raises(GradingError, match="--state-url"):
        Grading(Consumer(amqp_url, "copy"))
    done = CliRunner().invoke(
        app, ["conform", "consumer", "--amqp-url", amqp_url, "--queue", "no-such", "--callback", "json:dumps"]
    )
    assert done.exit_code == 2
