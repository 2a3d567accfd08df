"""`teleloop capacity`: the search finds the edge, names what is full, and prints what repeats it."""

import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.bracket import largest
from bench.capacity import full_stage
from bench.capacity_cli import app
from bench.load_cli import plan_of
from bench.results import Part, Result

pytestmark = pytest.mark.timeout(600)


@dataclass
class Machine:
    """Takes up to `takes`; `once` is a number that it takes only the first time."""

    takes: int
    once: int | None = None
    tried: list[int] = field(default_factory=list)

    async def passes(self, number: int, again: bool) -> bool:
        self.tried.append(number)
        return number <= self.takes and not (again and number == self.once)


@pytest.mark.parametrize("takes", [1, 3, 90, 250, 1_003, 7_777])
async def test_the_edge_is_found_within_a_tenth_and_tried_again(takes: int) -> None:
    machine = Machine(takes)
    edge = await largest(machine.passes, 250, 50_000, lambda: True)
    assert takes * 0.9 - 1 <= edge.best <= takes
    assert edge.repeated
    assert edge.failed is not None
    assert machine.tried[-1] == edge.best
    assert len(machine.tried) < 20


async def test_what_passes_once_and_fails_at_the_edge_is_not_the_answer() -> None:
    edge = await largest(Machine(1_000, once=1_000).passes, 250, 50_000, lambda: True, precision=0.0)
    assert edge.best < 1_000
    assert edge.repeated


async def test_nothing_is_said_beyond_the_limit_or_the_time() -> None:
    limited = await largest(Machine(10**9).passes, 250, 1_000, lambda: True)
    assert (limited.best, limited.failed, limited.repeated) == (1_000, None, True)
    left = iter([True, True, False, False, False, False, False])
    hurried = await largest(Machine(10**9).passes, 250, 1_000, lambda: next(left))
    assert (hurried.best, hurried.repeated) == (500, False)
    assert (await largest(Machine(0).passes, 4, 100, lambda: True)).best == 0


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, object], dict[str, object]]:
    """The answer of one short search, and all that was written about it."""
    out = tmp_path_factory.mktemp("capacity") / "found.json"
    arguments = ["--lab", "embedded", "--budget", "120s", "--hold", "1s", "--p99", "20s", "--max-rate", "20", "--max-units", "4"]
    done = CliRunner().invoke(app, [*arguments, "--pace", "2", "--json", "--out", str(out)])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout), json.loads(Path(out).read_text())


def test_the_answer_has_the_contracts_form(found: tuple[dict[str, object], dict[str, object]]) -> None:
    answer, _ = found
    assert list(answer) == ["units", "frames_per_s", "p99_ms", "lost", "full_stage", "stages", "repeat_with"]
    assert 1 <= int(str(answer["units"])) <= 4  # the limits of the search; a machine that is busy elsewhere reaches less
    assert 0 < float(str(answer["frames_per_s"])) <= 20
    assert answer["lost"] == 0
    assert answer["full_stage"] in {"none", "unit side", "broker", "decode", "translate", "store", "AMQP"}
    assert {"unit side", "decode", "translate", "store", "AMQP"} <= set(answer["stages"])  # type: ignore[call-overload]


def test_the_record_that_repeats_it_is_a_load_that_can_be_run(found: tuple[dict[str, object], dict[str, object]]) -> None:
    words = shlex.split(str(found[0]["repeat_with"]))
    assert words[:2] == ["teleloop", "load"]
    given: dict[str, object] = {"lean": "--lean" in words, "units": int(words[words.index("--units") + 1])}
    for name, flag in (("stage", "--stage"), ("objectives", "--objective")):
        given[name] = [words[at + 1] for at, word in enumerate(words) if word == flag]
    plan, objectives = plan_of(given)
    assert plan.stages[-1].rate_to == found[0]["frames_per_s"]
    assert [each.metric for each in objectives] == ["event_p99", "lost", "missing", "different"]


@pytest.mark.parametrize(
    ("cpu", "spent", "cores", "full"),
    [
        ({"gateway": 98.0}, {"translate": 5.0, "decode": 1.0}, 2, "translate"),
        ({"gateway": 98.0}, {"translate": 1.0, "decode": 4.0}, 2, "decode"),
        ({"gateway": 50.0, "broker": 97.0}, {"translate": 5.0}, 4, "broker"),
        ({"gateway": 30.0, "rabbitmq": 120.0, "generator": 30.0}, {"publish": 5.0, "translate": 1.0}, 2, "AMQP"),
        ({"gateway": 60.0, "rabbitmq": 70.0, "generator": 20.0, "broker": 17.0}, {"publish": 5.0, "store": 1.0}, 2, "store"),
        ({"gateway": 60.0, "rabbitmq": 70.0, "generator": 15.0, "broker": 8.0}, {"publish": 5.0, "store": 1.0}, 2, "AMQP"),
        ({"gateway": 80.0, "rabbitmq": 390.0, "generator": 20.0}, {"publish": 1.0, "store": 5.0}, 8, "AMQP"),
        ({"gateway": 20.0, "rabbitmq": 20.0}, {"store": 8.0, "publish": 1.0}, 8, "store"),
    ],
)
def test_what_is_full_is_told_from_cpu_and_waiting(cpu: dict[str, float], spent: dict[str, float], cores: int, full: str) -> None:
    parts = {
        name: Part(cpu_percent=percent, cpu_us_per_event=0, rss_mib=0) for name, percent in ({"generator": 5.0} | cpu).items()
    }
    result = made_up(parts, spent)
    assert full_stage(result, cores) == full


def made_up(parts: dict[str, Part], spent: dict[str, float]) -> Result:
    from bench.latency import Percentiles
    from bench.ledger import Counts
    from bench.results import Document, Generator, Latencies, Rate, Truth

    none = Percentiles()
    document = Document(
        ledger=Counts(),
        latency_ms=Latencies(event=none, command=none, state=none),
        rate=Rate(frames_per_s=0, events_per_s=0),
        truth=Truth(compared=0, different=0),
        generator=Generator(cpu_percent=0, rss_mib=0, bottleneck=False),
        objectives=[],
        seed=0,
    )
    return Result(
        document=document, values={}, plan={}, stages=[], series=[], missing=[], missing_by_cause={}, refused_by_reason={},
        commands_by_status={}, different=[], bottlenecks=[], parts=parts, curves={}, gateway_stages_s=spent, queues={}, notes=[],
        machine={}, started_at="", duration_s=10.0,
    )  # fmt: skip
