"""Gateways that are deliberately wrong, each in one thing. `python gateway_mutants.py NAME` patches it and runs the gateway.

Nothing in the product knows of this: a function is replaced from outside before the gateway starts.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

Break = Callable[[], None]


@dataclass(frozen=True)
class Mutant:
    """What is wrong, which requirement catches it, and how it is brought about. `amqp`: it shows only in RabbitMQ;
    `mosquitto`: only at a broker that leaves few messages unacknowledged."""

    name: str
    caught_by: str
    break_it: Callable[[], None]
    amqp: bool = False
    mosquitto: bool = False


MUTANTS: dict[str, Mutant] = {}


def mutant(
    name: str, caught_by: str, *, amqp: bool = False, mosquitto: bool = False
) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Register one."""

    def registered(break_it: Callable[[], None]) -> Callable[[], None]:
        MUTANTS[name] = Mutant(name, caught_by, break_it, amqp, mosquitto)
        return break_it

    return registered


def _wrap(owner: Any, name: str, around: Callable[..., Any]) -> None:
    kept = getattr(owner, name)
    setattr(owner, name, lambda *given, **how: around(kept, *given, **how))


@mutant("acknowledges before the confirm", "CBX-GW-002")
def _() -> None:
    from gateway.flights import Flights

    kept = Flights._publish

    async def late(self: Any, events: Any) -> None:
        asyncio.get_running_loop().create_task(_later(self, events))

    async def _later(self: Any, events: Any) -> None:
        await asyncio.sleep(1.0)
        await kept(self, events)

    Flights._publish = late  # type: ignore[method-assign]
    from gateway.live import Live

    tell = Live.tell
    Live.tell = lambda self, events: asyncio.get_running_loop().call_later(1.0, tell, self, events)  # type: ignore[method-assign, assign]


@mutant("the CRC is not checked", "CBX-GW-004")
def _() -> None:
    import protocols.cloudboxx as it

    it._check_crc = lambda data, at, size: None


@mutant("the seal is not checked", "CBX-GW-005")
def _() -> None:
    import protocols.cloudboxx as it

    it.holds = lambda *given: True


@mutant("the identity in the frame is ignored", "CBX-GW-006")
def _() -> None:
    import protocols.cloudboxx as it

    _wrap(it, "_check_speaker", lambda kept, data, peer: kept(data, replace(peer, unit=data[4:12].hex().upper())))


@mutant("a frame that comes again makes another event", "CBX-GW-003")
def _() -> None:
    import gateway.uplink as it

    it._Hearing._is_new = lambda self, frame: True  # type: ignore[method-assign]
    it.recorded_id = lambda *given: uuid.uuid4()


@mutant("event ids are random", "ONE-EVT-007")
def _() -> None:
    import gateway.uplink as it

    it.recorded_id = lambda *given: uuid.uuid4()


@mutant("derived event ids are random", "ONE-EVT-007")
def _() -> None:
    import gateway.changes as it

    it.derived_id = lambda *given: uuid.uuid4()


@mutant("events are published twice", "ONE-EVT-019", amqp=True)
def _() -> None:
    from gateway.amqp import AmqpPublisher

    kept = AmqpPublisher.publish

    async def twice(self: Any, events: Any) -> None:
        await kept(self, events)
        await kept(self, events)

    AmqpPublisher.publish = twice  # type: ignore[method-assign]


@mutant("answers have no flow id", "ONE-ERR-003")
def _() -> None:
    import gateway.api.problems as it

    it.FLOW_ID = "X-Other"


@mutant("the Ack is ahead of what arrived", "CBX-GW-008")
def _() -> None:
    from protocols.hotpath.quick import QuickCloudBoxx

    _wrap(
        QuickCloudBoxx,
        "acknowledge",
        lambda kept, self, unit, cumulative, bitmap, now, key: kept(self, unit, cumulative + 3, 0, now, key),
    )


@mutant("payloads are never acknowledged to the broker", "ONE-MQTT-009", mosquitto=True)
def _() -> None:
    from gateway.service import Service

    _wrap(Service, "arrived", lambda kept, self, unit, payload, acknowledge: kept(self, unit, payload, lambda: None))


@mutant("a missing scope is called not found", "ONE-AUTH-005")
def _() -> None:
    import gateway.api.access as it

    _wrap(it, "Problem", lambda kept, status, *given, **how: kept(404 if status == 403 else status, *given, **how))


@mutant("what is not there is called forbidden", "ONE-CMD-006")
def _() -> None:
    import gateway.api.problems as it

    _wrap(
        it, "problem_of", lambda kept, error: kept(error) if it.REGISTRY[type(error)][0] != 404 else it.Problem(403, "forbidden")
    )


@mutant("Beijing time is taken for UTC", "GBT-GW-003")
def _() -> None:
    from datetime import UTC

    import protocols.gbt32960 as it

    it.BEIJING = UTC  # type: ignore[assignment]


@mutant("the record count is little-endian", "TEL-GW-002")
def _() -> None:
    from protocols.teltonika import Teltonika

    _wrap(Teltonika, "answer", lambda kept, self, frame, accepted: (said := kept(self, frame, accepted)) and said[::-1])


@mutant("mileage is read big-endian", "CBX-GW-012")
def _() -> None:
    from gateway.uplink import _Hearing

    def take(kept: Any, self: Any, report: Any) -> None:
        said = dict(report.properties)
        if "mileage_in_kilometers" in said:
            raw = round(said["mileage_in_kilometers"] * 10)
            said["mileage_in_kilometers"] = int.from_bytes(raw.to_bytes(4, "little"), "big") / 10
        kept(self, report._replace(properties=said) if hasattr(report, "_replace") else replace(report, properties=said))

    _wrap(_Hearing, "_take_report", take)


@mutant("a late report turns the state back", "ONE-STATE-004")
def _() -> None:
    import gateway.uplink as it

    _wrap(it, "merged", lambda kept, before, reported, at, order: {**before, **kept({}, reported, at, order)})


@mutant("a clock in 2080 is believed", "ONE-STATE-005")
def _() -> None:
    import gateway.uplink as it

    it.CLOCK_ALLOWANCE_MS = 10**14


@mutant("command counters do not count", "VTC-GW-003")
def _() -> None:
    import gateway.commands as it

    def same(kept: Any, unit: Any, keys: Any, name: Any, counter: int, *more: Any) -> Any:
        return kept(unit, keys, name, 77, *more)

    _wrap(it, "seal_request", same)


@mutant("commands expire in ten minutes", "VTC-GW-002")
def _() -> None:
    import gateway.downlink as it

    it.LIFETIME_LIMIT_S = 100_000
    _wrap(
        sys.modules.setdefault("gateway.commands", __import__("gateway.commands").commands),
        "seal_request",
        lambda kept, unit, keys, name, counter, now, timeout, *more: kept(unit, keys, name, counter, now, 600.0, *more),
    )


@mutant("the tag of a result is not checked", "VTC-GW-004")
def _() -> None:
    from protocols import envelope

    envelope.hmac = type(
        "Hmac", (), {"compare_digest": staticmethod(lambda *given: True), "digest": staticmethod(envelope.hmac.digest)}
    )  # type: ignore[assignment]


@mutant("the Idempotency-Key is ignored", "ONE-CMD-007")
def _() -> None:
    from gateway.commands import Commands

    def carry_out(kept: Any, self: Any, *given: Any, **how: Any) -> Any:
        return kept(self, *given, **{**how, "idempotency_key": None})

    _wrap(Commands, "carry_out", carry_out)


@mutant("an archived vehicle is commanded", "ONE-VEH-016")
def _() -> None:
    import gateway.api.commands as it

    _wrap(
        it,
        "Problem",
        lambda kept, status, reason, *given, **how: kept(503 if reason == "archived" else status, reason, *given, **how),
    )


@mutant("the brand does not bind the keys", "ONE-VEH-005")
def _() -> None:
    import protocols.keys as it

    _wrap(it, "brand_key", lambda kept, key, brand: kept(key, "ANY"))
    for name, module in list(sys.modules.items()):
        if name.startswith("gateway") and hasattr(module, "brand_key"):
            module.brand_key = it.brand_key  # type: ignore[attr-defined]


@mutant("a Last Will is not listened to", "ONE-MQTT-011")
def _() -> None:
    from gateway.presence import Presence

    Presence.will = lambda self, unit, now, *, retained=False: None  # type: ignore[method-assign]


@mutant("a Last Will counts at once", "ONE-MQTT-012")
def _() -> None:
    import gateway.presence as it

    it.WILL_GRACE_MS = 0


@mutant("the routing key has no fleet", "ONE-EVT-002", amqp=True)
def _() -> None:
    from gateway.events import Event

    Event.routing_key = property(lambda self: f"{self.type}.{self.vehicle_id}")  # type: ignore[assignment, method-assign]


@mutant("messages have no type header", "ONE-EVT-003", amqp=True)
def _() -> None:
    from gateway.events import Event

    Event.headers = property(lambda self: {"Flow-ID": self.flow_id})  # type: ignore[assignment, method-assign]


@mutant("trips are not told", "ONE-EVT-015")
def _() -> None:
    import gateway.uplink as it

    it.follow = lambda vehicle, memory, *given: (memory.trip, [])


@mutant("the first value counts as a change", "ONE-EVT-010")
def _() -> None:
    import gateway.uplink as it

    def eager(kept: Any, before: Any, after: Any, occasion: Any) -> Any:
        from gateway.memory import Recorded

        lock = after.get("central_lock")
        told = {**before, "central_lock": before.get("central_lock", Recorded("?", 0, 0))} if lock else before
        return kept(told, after, occasion)

    _wrap(it, "changed", eager)


@mutant("nobody is told the time", "CBX-GW-011")
def _() -> None:
    from gateway.replies import Replies

    Replies._send_time = lambda self, *given: None  # type: ignore[method-assign]


@mutant("what cannot be understood blocks the rest", "CBX-GW-010")
def _() -> None:
    from gateway.uplink import _Hearing

    def hear(kept: Any, self: Any, cut: Any) -> None:
        _Hearing._count, counted = (lambda self, *given: None) if cut.data[31:32] == b"\x80" else _Hearing._count, _Hearing._count
        try:
            kept(self, cut)
        finally:
            _Hearing._count = counted  # type: ignore[method-assign]

    _wrap(_Hearing, "hear", hear)


def main() -> None:
    """Run gateways with one thing wrong: for each line on stdin (JSON: name, environment, folder) one, as a process of its own.

    The processes are forked from this one, which has imported everything: a gateway is there in a second. Ends with stdin.
    """
    here = Path(__file__).resolve().parent  # holds a gateway.py of its own
    sys.path[:] = [each for each in sys.path if Path(each).resolve() != here]
    import gateway.app
    import gateway.server  # noqa: F401
    import teleloop

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        wanted = json.loads(line)
        child = os.fork()
        if child:
            print(child, flush=True)
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        output = os.open(Path(wanted["folder"]) / "output.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for number in (1, 2):
            os.dup2(output, number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(wanted["folder"])
        os.environ.update(wanted["environment"])
        if wanted["name"]:
            MUTANTS[wanted["name"]].break_it()
        sys.argv[1:] = ["gateway"]
        teleloop.main()
        os._exit(0)


class Launcher:
    """The process that gateways are forked from."""

    def __init__(self) -> None:
        self._process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def launch(self, name: str, folder: Path, environment: dict[str, str]) -> int:
        """Run the gateway with one thing wrong (an empty name: nothing); its process id, which is its group's."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"name": name, "folder": str(folder), "environment": environment}) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """Launch no more."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)


if __name__ == "__main__":
    main()
