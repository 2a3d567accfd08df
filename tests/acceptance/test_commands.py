"""Commands as the contract tells them, seen from outside: each effect, and every status of its section 4."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lab.outsider import FLOW_ID, MODELS, Client, Road, problem
from lab.process import wait_until
from protocols.cloudboxx import PROTOCOL

pytestmark = pytest.mark.timeout(180)

COMMANDS = {
    "request-vehicle-state": {},
    "enable-driving": {"driving_enabled": True},
    "disable-driving": {"driving_enabled": False},
    "unlock-central-lock": {"central_lock": "UNLOCKED"},
    "lock-central-lock": {"central_lock": "LOCKED"},
    "unlock-and-enable-driving": {"central_lock": "UNLOCKED", "driving_enabled": True},
    "lock-and-disable-driving": {"central_lock": "LOCKED", "driving_enabled": False},
    "unlock-top-case": {"top_case_lock": "UNLOCKED"},
    "lock-top-case": {"top_case_lock": "LOCKED"},
    "unlock-battery-compartment": {"battery_compartment": "OPEN"},
    "draw-attention": {},
}


@pytest.mark.parametrize(
    ("brand", "model"),
    [
        *(("CLOUDBOXX", model) for model in MODELS.available("CLOUDBOXX") if model.type != "CAR"),
        *((brand, MODELS.available(brand)[0]) for brand in MODELS.brands),
    ],
    ids=lambda each: getattr(each, "name", each),
)
def test_200_means_done_by_the_vehicle_and_409_that_it_cannot(api: Client, road: Road, brand: str, model: Any):
    added = api.add(model, brand)
    unit = road.put(added)
    for name, effect in COMMANDS.items():
        answer = api.command(added["id"], name)
        if name not in added["capabilities"]["commands"]:
            problem(answer, 409)
            continue
        assert answer.status_code == 200, f"{name}: {answer.text}"
        said = {key: known["value"] for key, known in answer.json().items()}
        assert {key: said.get(key, value) for key, value in effect.items()} == effect, f"{name}: {answer.text}"
        assert unit.vehicle.executed[name] == 1
        assert said == api.state(added["id"])


def test_200_shows_the_updated_state_however_soon_commands_follow(api: Client, road: Road):
    added = api.add(MODELS.available("GBT32960")[0], "GBT32960")
    road.put(added)
    for _ in range(3):
        answers = [api.command(added["id"], f"{name}-driving") for name in ("enable", "disable", "enable")]
        said = [answer.json()["driving_enabled"] for answer in answers]
        assert [each["value"] for each in said] == [True, False, True]
        assert said[0]["timestamp"] < said[1]["timestamp"] < said[2]["timestamp"]


def test_422_the_vehicle_refused_and_nothing_was_done(api: Client, road: Road):
    added = api.add()
    unit = road.put(added)
    unit.vehicle.driving_enabled = unit.vehicle.ignition = True
    refused = problem(api.command(added["id"], "unlock-central-lock"), 422)
    assert refused["reason"] == "ignition_on"
    assert refused["type"].endswith("ignition_on")
    assert unit.vehicle.locked


def test_404_no_such_vehicle_or_command(api: Client):
    problem(api.command("ZZZZZ", "request-vehicle-state"), 404)
    problem(api.command(api.add()["id"], "self-destruct"), 404)


def test_400_the_request_is_not_understood(api: Client):
    path = f"/vehicles/{api.add()['id']}/commands/request-vehicle-state"
    problem(api.call("POST", path, params={"timeout": "soon"}), 400)
    problem(api.call("POST", path, params={"timeout": 0}), 400)


def test_503_the_unit_is_offline_and_nothing_was_sent(api: Client):
    problem(api.command(api.add()["id"], "request-vehicle-state"), 503)


def test_504_unknown_and_the_same_key_sends_the_same_bytes(api: Client, road: Road):
    added = api.add()
    unit = road.put(added, firmware=False)
    road.wake(unit)
    wait_until(lambda: api.get(f"/vehicles/{added['id']}")["life_status"]["value"] == "ONLINE", 10, "online")
    before = len(unit.down)
    for _ in range(2):
        problem(api.command(added["id"], "draw-attention", timeout=1, Idempotency_Key="k-504"), 504)
    sent = [payload for payload in unit.down[before:] if PROTOCOL.decode(payload).kind == "command"]
    inside = [PROTOCOL.decode(payload).facts["envelope"] for payload in sent]
    assert len(inside) == 2
    assert inside[0] == inside[1]


def test_429_more_than_one_in_flight_and_three_waiting(api: Client, road: Road):
    added = api.add()
    road.wake(road.put(added, firmware=False))
    wait_until(lambda: api.get(f"/vehicles/{added['id']}")["life_status"]["value"] == "ONLINE", 10, "online")
    with ThreadPoolExecutor(8) as crowd:
        answers = list(crowd.map(lambda _: api.command(added["id"], "draw-attention", timeout=3), range(8)))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses.count(429) == 4, statuses
    assert set(statuses) <= {429, 503, 504}
    problem(next(answer for answer in answers if answer.status_code == 429), 429)


def test_the_same_idempotency_key_is_executed_once_and_answered_alike(api: Client, road: Road):
    added = api.add()
    unit = road.put(added)
    answers = [api.command(added["id"], "unlock-central-lock", Idempotency_Key="once") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert answers[0].json() == answers[1].json() == answers[2].json()
    assert unit.vehicle.executed["unlock-central-lock"] == 1
    assert len({answer.headers[FLOW_ID] for answer in answers}) == 3
