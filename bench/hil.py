"""The pytest plugin: a unit, its vehicle and a gateway as fixtures, simulated or real by options. docs/hil.md is its manual.

Installed with the package. Nothing heavy is imported before the first test asks for a fixture.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from bench.stand.gateways import Answer
    from bench.stand.whole import Servers, Stand

WITHIN_S = 15.0
OPTIONS = ("unit", "gateway", "unit_id", "brand", "model", "amqp_url", "broker", "pace", "can", "control")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the stand."""
    group = parser.getgroup("teleloop", "teleloop: a telematics unit and a gateway as fixtures")
    group.addoption(
        "--unit", default="simulated", help="simulated (default), mqtt:BRAND/ID@host:port or tcp:BRAND/ID@host:port: a real unit"
    )
    group.addoption(
        "--gateway",
        default=None,
        help="virtual (default of a simulated unit: in virtual time), embedded, mosquitto+rabbitmq, or the URL of one that runs",
    )
    group.addoption("--unit-id", default=None, help="id of the unit; a simulated one gets one of its own")
    group.addoption("--brand", default="CLOUDBOXX", help="brand of the unit (CLOUDBOXX)")
    group.addoption("--model", default=None, help="vehicle model: name, id or file; without: a car with a central lock")
    group.addoption("--amqp-url", default=None, help="RabbitMQ of the gateway; without: events come from its API")
    group.addoption("--broker", default=None, help="the units' broker of a gateway by URL, mqtt://host:port")
    group.addoption(
        "--pace", type=float, default=10.0, help="how fast a simulated unit on real brokers lives through its first minutes (10)"
    )
    group.addoption(
        "--can",
        default=None,
        help="the unit reads its vehicle on a CAN bus: virtual, socketcan:can0, udp_multicast (in a namespace)",
    )
    group.addoption(
        "--control", default=None, help="control API of the process that the unit lives in (teleloop fleet --control), by URL"
    )
    group.addoption(
        "--operator", action="store_true", help="ask for what has to be done to a real unit by hand, instead of skipping"
    )


@pytest.fixture(scope="session")
def _servers() -> "Iterator[Servers]":
    from bench.stand.whole import Servers

    servers = Servers()
    yield servers
    servers.close()


@pytest.fixture
def bench(request: pytest.FixtureRequest, _servers: "Servers") -> "Iterator[Stand]":
    """The whole stand: `wait(seconds)`, `wait_until(condition)`, `now_ms`, `story`. A marker `stand(...)` overrides options."""
    import os

    from bench.lab import LabError
    from bench.stand.whole import Options, StandError, stand

    said = request.config.getoption
    chosen: dict[str, Any] = {name: said(name) for name in OPTIONS}
    for marker in reversed(list(request.node.iter_markers("stand"))):
        chosen |= marker.kwargs
    options = Options(**chosen, token=os.environ.get("TELELOOP_TOKEN"))
    try:
        made = stand(options, _servers, _operator(request.config))
        up = made.__enter__()
    except (StandError, LabError) as error:
        pytest.fail(str(error), pytrace=False)
    try:
        yield up
        _compare(request, up)
    finally:
        made.__exit__(None, None, None)


@pytest.fixture
def vehicle(bench: "Stand") -> Any:
    """The vehicle: drive, stop, park, open, close, ignite, set; `truth`, `state`, `locked`."""
    return bench.vehicle


@pytest.fixture
def unit(bench: "Stand") -> Any:
    """The telematics unit: `id`, `without_coverage(minutes=2)`, `lose_coverage`, `find_coverage`, `missing()`."""
    return bench.unit


@pytest.fixture
def gateway(bench: "Stand") -> Any:
    """The gateway as its users see it: `state`, `online`, `events`, `reports()`, `positions()`, `trips()`."""
    return bench.gateway


@pytest.fixture
def expect_state(bench: "Stand") -> Callable[..., Any]:
    """`expect_state(central_lock="LOCKED", within_s=5)`: wait until the gateway's state is so."""

    def expect(*, within_s: float = WITHIN_S, **expected: Any) -> Any:
        __tracebackhide__ = True
        return bench.gateway.expect_state(within_s, expected)

    return expect


@pytest.fixture
def expect_event(bench: "Stand") -> Callable[..., Any]:
    """`expect_event("CentralLockChanged", to="LOCKED")`: wait for an event; each event is found once."""

    def expect(event_type: str, *, within_s: float = WITHIN_S, **expected: Any) -> Any:
        __tracebackhide__ = True
        return bench.gateway.expect_event(within_s, event_type, expected)

    return expect


@pytest.fixture
def command(bench: "Stand") -> "Callable[..., Answer]":
    """`command("lock-central-lock")`: send it and expect 200; `expect=422, reason="ignition_on"` expects a refusal."""

    def send(name: str, *, expect: int = 200, reason: str | None = None, timeout_s: float = 30.0) -> "Answer":
        __tracebackhide__ = True
        answer = bench.gateway.command(name, timeout_s)
        if answer.status != expect or (reason is not None and reason not in (answer.reason, answer.detail)):
            wanted = f"{name}: {expect}" + (f" {reason}" if reason else "")
            said = f"{answer.status} {answer.reason} {answer.detail}".rstrip()
            raise AssertionError(bench.story.told(wanted, said))
        return answer

    return send


def pytest_configure(config: pytest.Config) -> None:
    """The marker that a test overrides options with."""
    config.addinivalue_line("markers", "stand(**options): options of the teleloop stand for this test, as on the command line")


_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Notes which tests have failed: their vehicles are not compared with the truth any more."""
    report = yield
    if report.failed or report.skipped:
        item.stash[_FAILED] = True
    return report


def _compare(request: pytest.FixtureRequest, up: "Stand") -> None:
    """The truth check at the end of a test: every supported property of the simulated vehicle; zero differences pass."""
    if not up.truth or request.node.stash.get(_FAILED, False):
        return
    differences = up.differences()
    if differences:
        lines = "; ".join(each.text for each in differences)
        told = up.story.told("the gateway's state to be what the vehicle is, when the test is over", lines)
        pytest.fail(told + "\nA test that leaves it so on purpose: @pytest.mark.stand(truth=False)", pytrace=False)


def _operator(config: pytest.Config) -> Callable[[str], None]:
    def ask(what: str) -> None:
        if not config.getoption("operator"):
            pytest.skip(f"a real unit is tested, and nobody can {what}: run with --operator, or leave this test out")
        capture = config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled():
            said = input(f"\n>>> please {what}; Enter when it is done, s to skip: ")
        if said.strip().lower() == "s":
            pytest.skip(f"the operator did not {what}")

    return ask
