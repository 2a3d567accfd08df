"""The pytest plugin as its users have it: from a folder of their own, against simulated and real units, on real brokers."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import modeldb
from bench.account import made_up_id
from bench.hil import OPTIONS
from bench.lab import GatewayProcess, LabError, Server, fleet, free_port, gateway, laboratory, write_units
from bench.lab.process import wait_until
from bench.stand.simulated import Gap
from bench.stand.whole import Options, Servers, Stand, StandError, stand
from devices.unitsfile import UnitRecord
from protocols.codec import UnitId

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "hil"
DATABASE = modeldb.load()
CROWD = 50
THOUSANDS = {"CLOUDBOXX": 1_400, "TELTONIKA": 300, "GBT32960": 200, "MERCEDES_BENZ": 100}

pytestmark = pytest.mark.timeout(300)  # a run of pytest within a run, on a machine that may have other work
REAL = UnitId("CLOUDBOXX", "EEEE000000000001")
BY_TCP = UnitId("TELTONIKA", "352093081452251")


def ran(folder: Path, *arguments: object, timeout_s: float = 240, **environment: str) -> tuple[dict[str, int], str]:
    """The outcomes (`passed`, ...) and all that pytest says, run in `folder` with nothing of this project's own configuration."""
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
        "--rootdir",
        str(folder),
    ]
    said = subprocess.run(
        [*command, "-o", "asyncio_default_fixture_loop_scope=function", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    last = said.stdout.splitlines()[-1] if said.stdout else ""
    return {
        what: int(count) for count, what in re.findall(r"(\d+) (passed|failed|error|skipped)", last)
    }, said.stdout + said.stderr


def a_test(folder: Path, text: str) -> Path:
    """A test file of a user."""
    path = folder / "test_mine.py"
    path.write_text(text)
    return path


def added(process: GatewayProcess, units: Sequence[UnitId], moving: bool) -> list[UnitRecord]:
    """Vehicles with these units, added in one call."""
    models = {unit: _model(unit, place) for place, unit in enumerate(units)}
    bodies = [
        {"telematics_brand": unit.brand, "telematics_unit_id": unit.telematics_unit_id, "vehicle_model_id": models[unit]}
        for unit in units
    ]
    records = []
    for said in process.call("POST", "/vehicles", json=bodies).json()["items"]:
        made = said["vehicle"]
        keys = {name: made["credentials"][name] for name in ("password", "seal_key", "command_key", "generation")}
        unit = UnitId(made["telematics_unit"]["brand"], made["telematics_unit"]["id"])
        records.append(
            UnitRecord(
                vehicle_id=made["id"],
                brand=unit.brand,
                telematics_unit_id=unit.telematics_unit_id,
                vehicle_model_id=made["model"]["id"],
                moving=moving,
                **keys,
            )
        )
    return records


def _model(unit: UnitId, place: int) -> str:
    cars = [each for each in DATABASE.available(unit.brand) if "lock-central-lock" in each.units[unit.brand].commands]
    return cars[place % len(cars)].id


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway that runs already, on its own broker, and listens for units over TCP."""
    settings = {"TELELOOP_TRUST_BROKER": "true", "TELELOOP_TRUST_TCP": "true", "TELELOOP_TCP_TELTONIKA": "0"}
    with gateway(tmp_path_factory.mktemp("hil"), settings) as process:
        yield process


def test_the_examples_pass_on_a_real_mosquitto_and_a_real_rabbitmq() -> None:
    outcomes, said = ran(EXAMPLES, ".", "--gateway", "mosquitto+rabbitmq", "--pace", 20)
    assert outcomes == {"passed": 6}, said[-6000:]


def test_one_real_unit_is_tested_among_fifty_simulated_ones(lab: GatewayProcess, tmp_path: Path) -> None:
    crowd = [UnitId("CLOUDBOXX", f"{place:016X}") for place in range(CROWD)]
    others, (real,) = added(lab, crowd, moving=True), added(lab, [REAL], moving=False)
    address, port = lab.units_broker.removeprefix("mqtt://"), free_port()
    with (
        fleet(tmp_path / "crowd", others, lab.units_broker, ["--driving-interval", "2", "--parked-interval", "5"]),
        fleet(tmp_path / "real", [real], lab.units_broker, ["--control", f"127.0.0.1:{port}"]) as its_own,
    ):
        its_own.wait_for_port(port, 60)
        who = ("test_lock.py", "-rs", "--unit", f"mqtt:{REAL}@{address}", "--gateway", lab.url)
        outcomes, said = ran(EXAMPLES, *who, "--control", f"http://127.0.0.1:{port}", TELELOOP_TOKEN=lab.token)
    assert outcomes == {"passed": 2}, said
    assert lab.counted("teleloop_frames_total", outcome="accepted") > CROWD


@pytest.mark.night
@pytest.mark.timeout(1_800)
def test_real_units_on_mqtt_and_tcp_are_tested_among_two_thousand_simulated_ones_that_stay_true(tmp_path: Path) -> None:
    """One real unit of each kind in turn; the crowd's own truth check at its end says whether the test did them any harm."""
    settings = {"TELELOOP_TRUST_BROKER": "true", "TELELOOP_TRUST_TCP": "true", "TELELOOP_TCP_TELTONIKA": "127.0.0.1:0"}
    with laboratory(tmp_path / "lab", "mosquitto+rabbitmq", settings) as whole:
        lab = whole.gateway
        crowd = [UnitId(brand, made_up_id(brand)) for brand, many in THOUSANDS.items() for _ in range(many)]
        others = [record for at in range(0, len(crowd), 500) for record in added(lab, crowd[at : at + 500], moving=True)]
        (real,), (tracker,) = added(lab, [REAL], moving=False), added(lab, [BY_TCP], moving=False)
        address, port, by_tcp = lab.units_broker.removeprefix("mqtt://"), free_port(), lab.addresses["units_tcp"]["teltonika"]
        write_units(tmp_path / "tracker.json", [tracker])
        script = ROOT / "tests" / "lab" / "tcp_unit.py"
        judged = ["--url", lab.url, "--token", lab.token, "--within", "120"]
        with fleet(tmp_path / "crowd", others, lab.units_broker, judged) as them:
            wait_until(lambda: lab.counted("teleloop_units_online") >= len(crowd), 400, "the crowd online")
            with (
                fleet(tmp_path / "real", [real], lab.units_broker, ["--control", f"127.0.0.1:{port}"]) as its_own,
                running([sys.executable, script, tmp_path / "tracker.json", *by_tcp.rsplit(":", 1)], tmp_path),
            ):
                its_own.wait_for_port(port, 60)
                who = ("test_lock.py", "-rs", "--gateway", lab.url, "--amqp-url", whole.amqp_url, "--unit")
                control = ("--control", f"http://127.0.0.1:{port}")
                outcomes, said = ran(EXAMPLES, *who, f"mqtt:{REAL}@{address}", *control, TELELOOP_TOKEN=lab.token)
                assert outcomes == {"passed": 2}, said
                outcomes, said = ran(EXAMPLES, *who, f"tcp:{BY_TCP}@{by_tcp}", TELELOOP_TOKEN=lab.token)
                assert outcomes == {"passed": 1, "skipped": 1}, said
            them.stop(180)
            assert them.report["truth"]["compared"] > 10 * len(crowd)
            assert them.report["truth"]["differences"] == []
            assert them.report["units"] == len(crowd) == 2_000


def test_a_real_unit_on_tcp_is_tested_as_one_on_mqtt(lab: GatewayProcess, tmp_path: Path) -> None:
    (record,) = added(lab, [BY_TCP], moving=False)
    write_units(tmp_path / "units.json", [record])
    address = lab.addresses["units_tcp"]["teltonika"]
    script = ROOT / "tests" / "lab" / "tcp_unit.py"
    with running([sys.executable, script, tmp_path / "units.json", *address.rsplit(":", 1)], tmp_path):
        arguments = ("test_lock.py", "-rs", "--unit", f"tcp:{BY_TCP}@{address}", "--gateway", lab.url)
        outcomes, said = ran(EXAMPLES, *arguments, TELELOOP_TOKEN=lab.token)
    assert outcomes == {"passed": 1, "skipped": 1}, said
    assert "nobody can switch the ignition on: run with --operator" in said


@contextmanager
def running(command: Sequence[str | Path], folder: Path) -> Iterator[Server]:
    """A process, ended at the end."""
    server = Server(command, folder, {"PYTHONPATH": str(ROOT)})
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def a_stand(**options: Any) -> Iterator[Stand]:
    """A stand in this process, in virtual time."""
    with stand(Options(**options), Servers(), pytest.skip) as up:
        yield up


def test_a_failed_expectation_tells_what_was_seen_the_frames_and_the_log() -> None:
    with a_stand() as up:
        assert up.gateway.command("unlock-central-lock").ok
        with pytest.raises(AssertionError) as state:
            up.gateway.expect_state(3, {"central_lock": "LOCKED"})
        with pytest.raises(AssertionError) as event:
            up.gateway.expect_event(3, "DoorsStatusChanged", {"to": "OPEN"})
        up.gateway.expect_event(3, "CentralLockChanged", {"to": "UNLOCKED"})
        with pytest.raises(AssertionError) as twice:
            up.gateway.expect_event(3, "CentralLockChanged", {"to": "UNLOCKED"})
    said = str(state.value)
    assert "expected  central_lock = 'LOCKED' within 3 s" in said
    assert "seen      central_lock = 'UNLOCKED'" in said
    assert re.search(r"up    state \d+, \d+ bytes: central_lock=UNLOCKED", said)
    assert re.search(r"log\n +15:00:00.000  event VehicleCreated", said)
    assert "command unlock-central-lock: 200" in said
    assert "no such event; there were: VehicleCreated" in str(event.value)
    assert "to = 'UNLOCKED'" in str(twice.value)


def test_a_gap_that_was_none_is_found_out() -> None:
    with a_stand() as up:
        up.gateway.command("unlock-and-enable-driving")
        with up.unit.without_coverage(seconds=30) as gap:
            up.vehicle.drive(km=0.1)
        up.gateway.expect_late_and_in_order(gap)
        gap.ended_ms += 3_600_000
        with pytest.raises(AssertionError, match=r"\d+ of \d+ positions arrived before coverage was back"):
            up.gateway.expect_late_and_in_order(gap)
        with pytest.raises(AssertionError, match="no position was captured in the gap"):
            up.gateway.expect_late_and_in_order(Gap(1, 2))


def test_a_refused_command_and_a_wrong_expectation_fail_the_test(tmp_path: Path) -> None:
    a_test(
        tmp_path,
        "def test_command(command):\n"
        "    command('draw-attention', expect=409)\n"
        "def test_reason(vehicle, command):\n"
        "    vehicle.ignite()\n"
        "    command('lock-central-lock', expect=422, reason='door_open')\n",
    )
    outcomes, said = ran(tmp_path, "--tb=short")
    assert outcomes == {"failed": 2}, said
    assert "expected  draw-attention: 409\nE   seen      200" in said
    assert "expected  lock-central-lock: 422 door_open\nE   seen      422" in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--unit", "mqtt:nonsense"], "--unit is simulated, mqtt:BRAND/ID@host:port"),
        (["--unit", "mqtt:CLOUDBOXX/0123456789ABCDEF@127.0.0.1:1883"], "needs the gateway that listens there: --gateway URL"),
        (["--unit", "tcp:TELTONIKA/352093081452251@127.0.0.1:1", "--gateway", "virtual"], "a real unit lives in real time"),
        (["--gateway", "kafka"], "a laboratory is"),
        (["--brand", "ACME"], "there is no brand ACME"),
        (["--model", "Rover"], "know no model Rover"),
        (["--model", "Fiat 500", "--can", "virtual"], "there is no DBC of fiat/500-2015"),
        (["--can", "udp_multicast"], "only inside a network namespace"),
    ],
)
def test_what_cannot_be_set_up_is_one_sentence(
    arguments: list[str], sentence: str, pytester_config: pytest.Config, tmp_path: Path
) -> None:
    names = {"--unit": "unit", "--gateway": "gateway", "--brand": "brand", "--model": "model", "--can": "can"}
    chosen = {names[flag]: value for flag, value in zip(arguments[::2], arguments[1::2], strict=True)}
    with pytest.raises((StandError, LabError), match=re.escape(sentence)), stand(Options(**chosen), Servers(), print):
        pass


@pytest.fixture
def pytester_config(request: pytest.FixtureRequest) -> pytest.Config:
    """The plugin is registered in this very run."""
    assert request.config.pluginmanager.hasplugin("teleloop")
    return request.config


def test_every_option_of_a_stand_can_be_said_on_the_command_line(pytester_config: pytest.Config) -> None:
    said = {name: pytester_config.getoption(name) for name in OPTIONS}
    assert Options(**said) == Options()
    assert set(Options.__dataclass_fields__) - set(OPTIONS) == {"token", "seed", "truth"}


def test_who_does_not_use_the_plugin_imports_nothing_of_it(tmp_path: Path) -> None:
    a_test(
        tmp_path,
        "import sys\n"
        "def test_mine():\n"
        "    ours = {'bench.stand', 'gateway', 'devices', 'modeldb', 'protocols', 'numpy', 'can', 'cantools'}\n"
        "    assert not ours & set(sys.modules), ours & set(sys.modules)\n"
        "def test_fixtures_of_mine_go_before(unit):\n"
        "    assert unit == 'mine'\n"
        "import pytest\n"
        "@pytest.fixture\n"
        "def unit():\n"
        "    return 'mine'\n",
    )
    outcomes, said = ran(tmp_path)
    assert outcomes == {"passed": 2}, said


def test_a_virtual_run_is_the_same_every_time() -> None:
    told = []
    for seed in (1, 1, 2):
        with a_stand(seed=seed) as up:
            up.gateway.command("unlock-and-enable-driving")
            up.vehicle.drive(km=0.3)
            up.vehicle.park()
            told.append(json.dumps([event.body for event in up.gateway.events]))
    assert told[0] == told[1]
    assert told[0] != told[2]


def test_a_test_that_leaves_the_gateway_wrong_about_the_vehicle_fails_unless_it_says_so(tmp_path: Path):
    a_test(
        tmp_path,
        """
import pytest

def deaf(gateway):  # a gateway that shows the ignition otherwise than it is
    under_test, state = gateway._under_test, gateway._under_test.state
    async def wrong(unit):
        return {**await state(unit), "ignition": "ON"}
    under_test.state = wrong

def test_right(vehicle, unit):
    vehicle.open("front_left")
    unit.lose_coverage()
    vehicle.close("front_left")

def test_wrong(gateway, vehicle):
    deaf(gateway)

@pytest.mark.stand(truth=False)
def test_wrong_on_purpose(gateway, vehicle):
    deaf(gateway)

def test_that_has_failed_is_not_compared(gateway, vehicle):
    deaf(gateway)
    assert False
""",
    )
    outcomes, said = ran(tmp_path)
    assert outcomes == {"passed": 3, "failed": 1, "error": 1}
    assert "ignition is 'OFF', and the gateway says 'ON'" in said
    assert "@pytest.mark.stand(truth=False)" in said
