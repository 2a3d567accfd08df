"""`teleloop load` as its user has it: real servers, every frame followed, and an exit code that can be trusted."""

import json
import subprocess
import sys
import threading
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pika
import pytest
from typer.testing import CliRunner

import modeldb
from bench.account import Added, made_up_id
from bench.consumer import Wanted
from bench.lab import Lab, laboratory
from bench.lab.rabbitmq import RabbitMQNode
from bench.ledger import Ledger
from bench.load import LoadRun
from bench.load_cli import app
from bench.plan import Plan, Target
from bench.stateful import StatefulFleet
from bench.watcher import Watcher
from devices.unitsfile import UnitRecord

pytestmark = pytest.mark.timeout(600)
"""Servers start in seconds on a quiet machine, and in minutes on one where a dozen test runs start theirs."""


@dataclass
class Said:
    """What one call of the command answered."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, object]:
        """The one JSON document on stdout."""
        said: dict[str, object] = json.loads(self.stdout)
        return said


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, rabbitmq_node: RabbitMQNode) -> Iterator[Lab]:
    """Mosquitto and a gateway on the RabbitMQ of the whole test run."""
    with rabbitmq_node.vhost() as vhost:
        environment = {
            "TELELOOP_AMQP_URL": rabbitmq_node.url(vhost),
            "TELELOOP_AMQP_MANAGEMENT_URL": rabbitmq_node.management_url,
        }
        with laboratory(tmp_path_factory.mktemp("load") / "lab", "mosquitto", environment) as whole:
            whole.environment = {**whole.environment, "amqp": rabbitmq_node.url(vhost)}
            yield whole


def load(lab: Lab | None, *arguments: str, timeout: float = 400) -> Said:
    command = [sys.executable, "-m", "teleloop", "load", "--json", *arguments]
    if lab is not None:
        command += ["--url", lab.url, "--token", lab.token, "--broker", lab.units_broker, "--amqp-url", lab.environment["amqp"]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    return Said(done.returncode, done.stdout, done.stderr)


def test_stateful_units_of_several_brands_with_commands_lose_nothing(lab: Lab, tmp_path: Path) -> None:
    out, page = tmp_path / "run.json", tmp_path / "run.html"
    brands = ("--brand", "CLOUDBOXX:2", "--brand", "TELTONIKA", "--brand", "GBT32960", "--brand", "MERCEDES_BENZ")
    said = load(
        lab, "--units", "20", "--rate", "40", "--for", "4s", *brands, "--commands", "2", "--parked",
        "--objective", "lost==0", "--objective", "unexpected==0", "--out", str(out), "--html", str(page),
    )  # fmt: skip
    assert said.code == 0, said.stderr
    document = said.document
    assert list(document) == ["ledger", "latency_ms", "rate", "truth", "generator", "objectives", "seed"]
    ledger = document["ledger"]
    assert isinstance(ledger, dict)
    assert ledger["attempted"] >= 160
    assert ledger["observed"] == ledger["attempted"]
    assert document["truth"]["different"] == 0  # type: ignore[index]
    assert document["truth"]["compared"] > 20  # type: ignore[index]
    assert document["latency_ms"]["command"]["p50"] > 0  # type: ignore[index]
    assert document["latency_ms"]["event"]["p99"] > 0  # type: ignore[index]
    whole = json.loads(out.read_text())
    assert set(whole["commands_by_status"]) == {"200"}
    assert whole["missing"] == []
    self_contained(page.read_text())


def self_contained(page: str) -> None:
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page
    assert "<script src" not in page
    for svg in page.split("<svg")[1:]:
        ElementTree.fromstring("<svg" + svg.split("</svg>")[0] + "</svg>")
    assert page.count("<svg") >= 5


def test_a_frame_lost_behind_its_ack_is_found_and_named(lab: Lab, rabbitmq_node: RabbitMQNode, tmp_path: Path) -> None:
    """The consumer's queue is robbed of messages: to the ledger that is a loss, and the exit code says so."""
    out = tmp_path / "run.json"
    robbed = threading.Event()
    robber = threading.Thread(target=rob, args=(rabbitmq_node, lab.environment["amqp"], robbed), daemon=True)
    robber.start()
    said = load(lab, "--lean", "--units", "5", "--rate", "50", "--for", "6s", "--drain", "12s", "--out", str(out))
    robbed.set()
    robber.join(10)
    assert said.code == 1, said.stderr
    lost = said.document["ledger"]["lost"]  # type: ignore[index]
    assert lost > 0
    missing = json.loads(out.read_text())["missing"]
    assert len(missing) == lost
    assert {each["cause"] for each in missing} == {"lost"}
    assert all(each["unit"].startswith("CLOUDBOXX/") and each["sequence"] > 0 for each in missing)
    assert "acknowledged, and never seen by the consumer" in " ".join(said.stderr.split())


def rob(node: RabbitMQNode, url: str, done: threading.Event) -> None:
    """Unbind the run's queue for a second: what is published then, it never gets."""
    parameters = pika.URLParameters(url)
    with pika.BlockingConnection(parameters) as connection:
        channel = connection.channel()
        while (found := run_queue(node, parameters.virtual_host)) is None:
            if done.is_set():
                return
            connection.process_data_events(0.1)
        connection.process_data_events(2.0)
        channel.queue_unbind(found[0], "events", found[1])
        connection.process_data_events(1.0)
        channel.queue_bind(found[0], "events", found[1])


def run_queue(node: RabbitMQNode, vhost: str) -> tuple[str, str] | None:
    bindings = node.management("GET", f"/bindings/{quote(vhost, safe='')}")
    found = (each for each in bindings if each["source"] == "events" and each["destination"].startswith("load."))
    return next(((each["destination"], each["routing_key"]) for each in found), None)


async def test_what_waits_in_the_consumers_queue_is_counted(rabbitmq_node: RabbitMQNode) -> None:
    with rabbitmq_node.vhost() as vhost:
        url = rabbitmq_node.url(vhost)
        with pika.BlockingConnection(pika.URLParameters(url)) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            channel.queue_declare("of-the-run", durable=True, arguments={"x-queue-type": "quorum"})
            for _ in range(3):
                channel.basic_publish("", "of-the-run", b"{}")
        assert await Watcher(Wanted(amqp_url=url, queue="of-the-run")).waiting() == 3
        assert await Watcher(Wanted(amqp_url=url, queue="none")).waiting() is None
    assert await Watcher(Wanted()).waiting() is None


def test_the_truth_check_of_a_run_is_of_every_supported_property_of_every_vehicle() -> None:
    models, added = modeldb.load(), []
    for brand in ("CLOUDBOXX", "TELTONIKA", "GBT32960", "MERCEDES_BENZ"):
        model, keys = models.available(brand)[0], {"seal_key": "00" * 32, "command_key": "00" * 32, "password": ""}
        unit = made_up_id(brand)
        added.append(
            Added(UnitRecord(vehicle_id=unit, brand=brand, telematics_unit_id=unit, vehicle_model_id=model.id, **keys), "fleet")
        )
    source = StatefulFleet(Ledger(), added, "mqtt://127.0.0.1:1", faults=["wrong_model"])
    translations = {
        each.record.vehicle_id: models.models[each.record.vehicle_model_id].units[each.record.brand] for each in added
    }
    truths = {member.record.vehicle_id: member.firmware.vehicle.state() for member in source._fleet.members}
    sayable = {name: translations[name].translate(translations[name].invert(truth)) for name, truth in truths.items()}
    found = source.truth(truths)
    assert found is not None
    assert (found.compared, found.different) == (sum(map(len, sayable.values())), 0)
    for name, state in sayable.items():
        for key in state:
            lie = source.truth(truths | {name: {**truths[name], key: None}})
            assert lie is not None
            assert [each.key for each in lie.differences] == [key]


def test_an_objective_that_is_missed_gives_1_and_an_overloaded_generator_is_said(lab: Lab) -> None:
    """One event loop cannot say 60,000 frames a second: what is measured then is its own limit."""
    said = load(
        lab, "--lean", "--units", "4", "--stage", "hold 1s 60000", "--drain", "1s", "--objective", "event_p99<1us",
        "--objective", "command_p99<1s",
    )  # fmt: skip
    assert said.code == 1, said.stderr
    verdicts = said.document["objectives"]
    assert [each["ok"] for each in verdicts][:2] == [False, False]  # type: ignore[union-attr, attr-defined]
    assert verdicts[2]["text"] == "different==0", "the truth check is an objective of every run"  # type: ignore[index]
    assert verdicts[1]["value"] is None  # type: ignore[index]
    assert said.document["generator"]["bottleneck"] is True  # type: ignore[index]
    assert "the generator was the bottleneck" in said.stderr.replace("\n", " ")


def test_a_noisy_line_is_refused_by_the_gateway_and_loses_nothing(lab: Lab, tmp_path: Path) -> None:
    out = tmp_path / "run.json"
    said = load(
        lab, "--units", "20", "--rate", "60", "--for", "4s", "--fault", "bad_crc:0.05", "--objective", "lost==0",
        "--objective", "missing==0", "--objective", "refused>0", "--out", str(out),
    )  # fmt: skip
    assert said.code == 0, said.stderr
    assert "bad_checksum" in said.stderr
    ledger = said.document["ledger"]
    assert isinstance(ledger, dict)
    assert ledger["acknowledged"] == ledger["observed"] == ledger["attempted"] >= 200


def test_a_reconnect_storm_loses_nothing(lab: Lab) -> None:
    said = load(
        lab, "--lean", "--units", "20", "--batch", "2", "--stage", "ramp 2s 0..40", "--stage", "storm 3s 40",
        "--stage", "spike 1s 80", "--objective", "lost==0", "--objective", "missing==0",
    )  # fmt: skip
    assert said.code == 0, said.stderr


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--objective", "evnt_p99<1ms"), "event_p99"),
        (("--objective", "event_p99<1parsec"), "us, ms, s"),
        (("--stage", "wobble 3s"), "ramp, hold, spike, storm, soak"),
        (("--stage", "ramp 3s"), "ramp 30s 0..500"),
        (("--brand", "NOSUCH"), "CLOUDBOXX"),
        (("--lean", "--commands", "3"), "leave out --lean"),
        (("--command", "fly"), "unlock-central-lock"),
        (("--fault", "no_such_fault"), "bad_crc"),
        (("--lab", "kafka"), "mosquitto"),
        (("--lab", "[/red]"), "not '[/red]'"),
        (("--fault", "[no]such:0.1"), "[no]such"),
        (("--url", "http://127.0.0.1:1", "--token", "x", "--broker", "mqtt://127.0.0.1:1"), "cannot be reached"),
        (("--for", "soon"), "30s"),
    ],
)
def test_what_cannot_be_run_is_said_with_what_can(
    arguments: tuple[str, ...], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TELELOOP_DATA", str(tmp_path))
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2, done.output
    assert why in " ".join(done.stderr.split())
    assert "Traceback" not in done.output


def test_a_result_that_could_not_be_written_is_refused_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.load_cli.run_load", lambda *_: pytest.fail("it ran"))
    there, nowhere = tmp_path / "there.json", tmp_path / "nowhere" / "page.html"
    there.write_text("as before")
    for arguments in (("--out", str(there), "--html", str(nowhere)), ("--html", str(nowhere))):
        done = CliRunner().invoke(app, ["--lab", "embedded", *arguments])
        assert done.exit_code == 2, done.output
        assert "No such file or directory" in done.stderr
    assert there.read_text() == "as before"
    assert list(tmp_path.iterdir()) == [there]


@pytest.mark.parametrize(("units", "batch", "note"), [(10, 1, True), (10, 4, False), (40, 1, False)])
def test_units_that_say_more_than_is_heard_of_them_are_noted(units: int, batch: int, note: bool) -> None:
    plan = Plan(units=units, rate=800.0, batch=batch, lean=True)
    target = Target(url="http://127.0.0.1:9", token="-", broker="mqtt://127.0.0.1:9")
    notes = LoadRun(plan, target)._notes
    assert bool(notes) == note
    assert not note or "With 40 units" in notes[0]
