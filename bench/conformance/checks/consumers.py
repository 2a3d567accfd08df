"""The checks of event consumers: what their copy of a fleet is after duplicates, late reports, restarts, pauses."""

import copy
import time
from typing import Any

from bench.conformance.grading import GradedVehicle, Grading
from bench.conformance.requirement import Broken, NotExecuted, proves

Fed = tuple[list[GradedVehicle], str]

RESTARTED_PORTIONS = 4
AT_WORK_S = (0.1, 0.3)
"""How long a consumer that was restarted has had to connect and to be in the middle of something when it is restarted again."""


def _verdict(grading: Grading, expected: str, wrong: str) -> str:
    if wrong:
        raise Broken(expected, wrong, moment=len(grading.log) - 1)
    return "right"


def _plain(grading: Grading) -> Fed:
    def play() -> Fed:
        vehicles = grading.vehicles("plain")
        for vehicle in vehicles:
            grading.lives(vehicle)
            grading.feed(vehicle.events)
        return vehicles, grading.settled(vehicles)

    fed: Fed = grading.phase("events without a fault", play)
    return fed


def _works(grading: Grading) -> None:
    """A consumer that is wrong without a fault says nothing about faults."""
    if wrong := _plain(grading)[1]:
        raise NotExecuted(f"the consumer is wrong without a fault: {wrong}", "see CON-STATE-001")


@proves("CON-STATE-001")
def plain(grading: Grading) -> str:
    return _verdict(grading, "the last event's state", _plain(grading)[1])


@proves("CON-STATE-002")
def whole_state(grading: Grading) -> str:
    def play() -> Fed:
        vehicles = grading.vehicles("partial")
        for vehicle in vehicles:
            vehicle.report()
            vehicle.report(only="mileage_in_kilometers")
            vehicle.report(only="central_lock")
            grading.feed(vehicle.events)
        return vehicles, grading.settled(vehicles, 8)

    _works(grading)
    return _verdict(
        grading, "every property, also those that the last report did not name", grading.phase("reports of one property", play)[1]
    )


def _duplicated(grading: Grading) -> Fed:
    def play() -> Fed:
        vehicles = grading.vehicles("duplicates")
        for vehicle in vehicles:
            grading.lives(vehicle)
        once = [event for vehicle in vehicles for event in vehicle.events]
        grading.feed([event for event in once for _ in range(1 + (grading.rng.random() < 0.5))])
        return vehicles, grading.settled(vehicles, 8)

    fed: Fed = grading.phase("duplicates", play)
    return fed


@proves("CON-DUP-001")
def duplicates(grading: Grading) -> str:
    _works(grading)
    return _verdict(grading, "the state as if each event had come once", _duplicated(grading)[1])


@proves("CON-DUP-002")
def counted_once(grading: Grading) -> str:
    _works(grading)
    return _verdict(grading, "each trip counted once", grading.miscounted(_duplicated(grading)[0]))


@proves("CON-LATE-001")
def late(grading: Grading) -> str:
    def play() -> Fed:
        vehicles = grading.vehicles("late")
        for vehicle in vehicles:
            vehicle.report()
            vehicle.report()
            for _ in range(3):
                vehicle.report(late=True)
            grading.feed(vehicle.events)
        grading.settled(vehicles, 4)
        time.sleep(0.5)
        return vehicles, grading.settled(vehicles, 4)

    _works(grading)
    return _verdict(grading, "the newer values: late turned nothing back", grading.phase("late reports", play)[1])


@proves("CON-ORDER-001")
def across_vehicles(grading: Grading) -> str:
    def play() -> Fed:
        vehicles = grading.vehicles("mixed", max(3, grading.consumer.vehicles // 2))
        for vehicle in vehicles:
            grading.lives(vehicle)
        grading.feed(list(grading.merged(vehicles)))
        return vehicles, grading.settled(vehicles, 8)

    _works(grading)
    return _verdict(grading, "each vehicle's own last state", grading.phase("events of several vehicles, mixed", play)[1])


@proves("CON-REDELIVER-001")
def redelivered(grading: Grading) -> str:
    def play() -> Fed:
        vehicles = grading.vehicles("redelivered")
        for vehicle in vehicles:
            grading.lives(vehicle)
            middle = len(vehicle.events) // 2
            grading.feed([*vehicle.events, *vehicle.events[middle:]])
        return vehicles, grading.settled(vehicles, 8)

    _works(grading)
    _vehicles, wrong = grading.phase("a run of events once more", play)
    return _verdict(grading, "the same state in the end", wrong)


@proves("CON-REMOVED-001")
def removed(grading: Grading) -> str:
    def play() -> Fed:
        vehicles = grading.vehicles("removed")
        for vehicle in vehicles:
            vehicle.report()
            vehicle.remove()
            grading.feed(vehicle.events)
        return vehicles, grading.settled(vehicles, 8)

    _works(grading)
    return _verdict(grading, "gone", grading.phase("removed vehicles", play)[1])


@proves("CON-REMOVED-002")
def created_again(grading: Grading) -> str:
    def play() -> Fed:
        vehicles = grading.vehicles("back")
        for vehicle in vehicles:
            vehicle.report()
            vehicle.remove()
            vehicle.create()
            vehicle.report()
            grading.feed(vehicle.events)
        return vehicles, grading.settled(vehicles, 8)

    _works(grading)
    return _verdict(grading, "there again, with the state that was told then", grading.phase("vehicles that come back", play)[1])


@proves("CON-UNKNOWN-001")
def unknown(grading: Grading) -> str:
    def play() -> Fed:
        vehicles = grading.vehicles("unknown")
        for vehicle in vehicles:
            vehicle.report()
            vehicle.event("SomethingNewHappened", something={"deep": [1, None, {"x": True}]})
            vehicle.report(central_lock="LOCKED", flux_capacitor_in_gigawatts=1.21)
            strange: dict[str, Any] = copy.deepcopy(vehicle.events[-1])
            strange["metadata"]["colour"] = "green"
            strange["more"] = {"of": "it"}
            vehicle.events[-1] = strange
            vehicle.report()
            grading.feed(vehicle.events)
        return vehicles, grading.settled(vehicles, 8)

    _works(grading)
    found = grading.phase("what nobody knows yet", play)
    for vehicle in found[0]:
        vehicle.state.pop("flux_capacitor_in_gigawatts", None)
    return _verdict(grading, "what is known, as if the rest were not there", next(filter(None, map(grading.wrong, found[0])), ""))


def _restarted(grading: Grading) -> Fed:
    """Each vehicle has one report and one trip: whatever is lost is missed."""

    def play() -> Fed:
        vehicles = grading.vehicles("restarted", 4 * grading.consumer.vehicles)
        grading.feed([event for vehicle in vehicles for event in vehicle.events])
        grading.settled(vehicles)  # what a restart interrupts is to be a report or a trip, not what comes before them
        for told in (GradedVehicle.report, GradedVehicle.trip):
            before = {vehicle.id: len(vehicle.events) for vehicle in vehicles}
            for vehicle in vehicles:
                told(vehicle)
            events = [event for vehicle in vehicles for event in vehicle.events[before[vehicle.id] :]]
            portion = -(-len(events) // RESTARTED_PORTIONS)
            for begin in range(0, len(events), portion):
                grading.feed(events[begin : begin + portion])
                if begin + portion < len(events):
                    time.sleep(grading.rng.uniform(*AT_WORK_S))
                    grading.restart()
        return vehicles, grading.settled(vehicles)

    _works(grading)
    fed: Fed = grading.phase("restarts in the middle", play)
    return fed


@proves("CON-RESTART-001")
def restarted(grading: Grading) -> str:
    return _verdict(grading, "nothing lost over a restart", _restarted(grading)[1])


@proves("CON-RESTART-002")
def restarted_count(grading: Grading) -> str:
    return _verdict(grading, "each trip counted once over restarts", grading.miscounted(_restarted(grading)[0]))


@proves("CON-SLOW-001")
def slow(grading: Grading) -> str:
    def play() -> Fed:
        vehicles = grading.vehicles("slow")
        for vehicle in vehicles:
            grading.lives(vehicle)
        events = list(grading.merged(vehicles))
        half = len(events) // 2
        grading.feed(events[:half])
        time.sleep(2.0)
        grading.feed(events[half : half + 10], pause_s=0.15)
        grading.feed(events[half + 10 :])
        return vehicles, grading.settled(vehicles)

    _works(grading)
    return _verdict(grading, "the last event's state", grading.phase("a pause, a trickle, a burst", play)[1])


@proves("CON-ACK-001")
def acknowledges(grading: Grading) -> str:
    """Whoever holds messages without acknowledging them gets them again on a new connection: the queue fills when it ends."""
    _works(grading)
    _duplicated(grading)

    def play() -> int:
        grading.until(lambda: grading.waiting() == 0)
        if grading.waiting():
            return grading.waiting()
        if grading.consumer.restart_command is None:
            raise NotExecuted(
                "the queue is empty; whether all is acknowledged shows only when the consumer ends", "give --restart-command"
            )
        grading.restart()
        grading.until(lambda: grading.waiting() == 0)
        return grading.waiting()

    left = grading.phase("what is not acknowledged", play)
    return _verdict(grading, "an empty queue", f"{left} messages" if left else "")
