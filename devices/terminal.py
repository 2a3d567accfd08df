"""A unit as it stands in the world: its firmware, the line that it speaks over, and what is wrong with either. Sans-io.

It is a `Firmware` itself: whoever drives units - a fleet on real connections, the bench under virtual time - drives this one.
"""

import heapq
import itertools
import random
from collections.abc import Iterable, Mapping
from dataclasses import replace
from operator import attrgetter
from typing import Any, cast

from devices.brief import BriefUnit
from devices.config import Intervals, UnitConfig
from devices.faults.fault import Ailment, Fault
from devices.firmware import Firmware
from devices.flash import Flash, Store, volatile
from devices.line import PERFECT, LineModel, Link, Whereabouts
from devices.power import Phase, ResetCause
from devices.switch import switch_on
from devices.vehicle import Vehicle
from protocols.codec import UnitId

COVERAGE_EVERY_MS = 1_000
"""How often a vehicle on the road looks whether there is coverage where it is."""


class Mistaken(dict[str, Any]):
    """A state that its unit believes; `truth` is the vehicle's."""

    def __init__(self, truth: Mapping[str, Any]) -> None:
        super().__init__(truth)
        self.truth = truth


class Seen:
    """The vehicle as its unit sees it: itself, but for what a fault puts between. Setting an attribute sets the vehicle's."""

    __slots__ = ("_vehicle", "acts", "place")
    _own = frozenset(__slots__)

    def __init__(self, vehicle: Vehicle) -> None:
        object.__setattr__(self, "_vehicle", vehicle)
        object.__setattr__(self, "place", None)
        object.__setattr__(self, "acts", None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._vehicle, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._own:
            object.__setattr__(self, name, value)
        else:
            setattr(self._vehicle, name, value)

    @property
    def bare(self) -> Vehicle:
        """The vehicle itself: for what no fault touches, and often asked."""
        vehicle: Vehicle = self._vehicle
        return vehicle

    @property
    def undisturbed(self) -> Vehicle | None:
        """The vehicle itself, if its unit sees it as it is."""
        return self._vehicle if self.place is None else None

    @property
    def route(self) -> Any:
        """The road, or what the receiver believes it to be."""
        return self if self.place is not None else self._vehicle.route

    def at(self, distance_m: float) -> Any:
        """Where the receiver says that the vehicle is."""
        return self.place(self._vehicle.route.at(distance_m))

    @property
    def here(self) -> Any:
        """Where it is, or where the receiver believes it to be."""
        return self._vehicle.here if self.place is None else self.place(self._vehicle.here)

    def state(self) -> dict[str, Any]:
        """The truth, with the receiver's place in it."""
        state: dict[str, Any] = self._vehicle.state()
        if self.place is not None and "position" in state:
            state = Mistaken(state)
            place = self.here
            state["position"] = {"lat": place.latitude, "lon": place.longitude}
            if "heading_in_degrees" in state:
                state["heading_in_degrees"] = place.heading
        return state

    def execute(self, command: str) -> str | None:
        """As the vehicle does, unless its actuators only say so."""
        if self.acts is not None and not self.acts(command):
            return None
        refusal: str | None = self._vehicle.execute(command)
        return refusal


READ_OFTEN = (
    "advance",
    "altitude_m",
    "charging",
    "commanded_lock",
    "commanded_top_case_lock",
    "distance_m",
    "ignition",
    "in_motion",
    "locked",
    "named",
    "next_change_ms",
    "satellites",
    "signal_dbm",
    "speed_kmh",
    "supply_voltage",
    "system_voltage",
    "target_speed_kmh",
)
"""What firmware asks of a vehicle all the time: found without a detour."""

for _name in READ_OFTEN:
    setattr(Seen, _name, property(attrgetter(f"_vehicle.{_name}")))


class Terminal:
    """One unit, switched on. `inject` and `cure` work at any time; `line` is its link.

    `rival` is another unit with the same identity, where a fault has made one: it is on the air too, on a line of its own.
    """

    def __init__(
        self,
        protocol: str,
        config: UnitConfig,
        flash: Flash,
        vehicle: Vehicle,
        store: Store = volatile,
        *,
        line: LineModel = PERFECT,
        faults: Iterable[Fault] = (),
        seed: int = 0,
        rival_store: Store = volatile,
    ) -> None:
        """`rival_store` is for the flash of a copy that a fault makes. Raises FaultUnsuited for a fault that is not for it."""
        self.protocol, self.config, self.vehicle = protocol, config, vehicle
        self._store, self._rival_store, self._seed = store, rival_store, seed
        self.rival: Terminal | None = None
        self.seen = Seen(vehicle)
        self._began_m = vehicle.distance_m
        self.link = Link(line, random.Random(f"{seed}/{config.unit}/line"))
        self.firmware: Firmware = self.boot(config, flash)
        self._restarts = 0
        self._drops = self.online = self.spoken = False
        self.neighbour: UnitId | None = None
        self.ailments: dict[str, Ailment] = {}
        self._pending = [fault.at_work(self, seed) for fault in faults]
        self._on_the_way: list[tuple[int, int, str, bytes]] = []
        self._places = itertools.count()

    @property
    def flash(self) -> Flash:
        """The firmware's, as are the next ones."""
        return self.firmware.flash

    @property
    def truth_told(self) -> Mapping[str, Any] | None:
        """The vehicle's true state at the moment of its unit's last report of it; None: there was none."""
        told = self.firmware.senses.last
        return told.truth if isinstance(told, Mistaken) else told

    @property
    def phase(self) -> Phase:
        """Where it is between off and online."""
        return self.firmware.phase

    @property
    def reset_cause(self) -> ResetCause:
        """Why it booted last."""
        return self.firmware.reset_cause

    @property
    def resets(self) -> int:
        """How often it has booted anew."""
        return self.restarts

    @property
    def coverage(self) -> bool:
        """Whether it knows of a network."""
        return self.firmware.coverage

    def boot(self, config: UnitConfig, flash: Flash) -> Firmware:
        """Firmware of this unit, as it starts."""
        return switch_on(self.protocol, config, flash, cast(Vehicle, self.seen), self._store)

    def begin_with(self, fault: Fault) -> None:
        """Something is wrong from the first moment on: for before it is switched on. Raises FaultUnsuited."""
        self._pending.append(fault.at_work(self, self._seed))

    def inject(self, fault: Fault, now_ms: int) -> None:
        """Something goes wrong from now on; again: at another rate. Raises FaultUnsuited."""
        ailment = fault.at_work(self, self._seed)
        self.cure(fault.name, now_ms)
        ailment.begins(now_ms)
        self.ailments[fault.name] = ailment

    def cure(self, name: str, now_ms: int) -> None:
        """That goes wrong no more; no matter if it did not."""
        ailment = self.ailments.pop(name, None)
        if ailment is not None:
            ailment.ends(now_ms)

    def copied(self) -> "Terminal":
        """Another unit with this one's identity, secrets and flash, in a vehicle of the same model that stands somewhere else."""
        vehicle, intervals = self.vehicle, self.config.intervals
        place = vehicle.here
        other = Vehicle(
            properties=vehicle.properties,
            commands=vehicle.commands,
            kind=vehicle.kind,
            seed=self._seed + 1,
            latitude=place.latitude + 0.1,
            longitude=place.longitude,
            build=vehicle.build,
        )
        paced = Intervals(*(max(1.0, each) for each in (intervals.driving_s, intervals.parked_s, intervals.heartbeat_s)))
        config, flash = replace(self.config, intervals=paced), Flash.load(self.flash.dump())
        return Terminal(self.protocol, config, flash, other, self._rival_store, line=self.link.model, seed=self._seed + 1)

    def reboot(self, now_ms: int, cause: ResetCause = ResetCause.POWER) -> None:
        """What is not in its flash is gone, and the line with it; `cause` is told afterwards."""
        self.lose_line(now_ms)
        self.firmware.reset(cause, now_ms)

    def restart_with(self, flash: Flash, now_ms: int) -> None:
        """Power is gone and back, and the unit is another inside: as `config` says now, with that flash."""
        self.lose_line(now_ms)
        self._restarts += self.firmware.resets + 1
        self.firmware = self.boot(self.config, flash)

    def lose_line(self, now_ms: int) -> None:
        """The connection is gone without a word; whoever drives the unit closes it, and opens another."""
        if self.online:
            self.online, self._drops = False, True
            self.firmware.disconnected(now_ms)
        self._on_the_way.clear()

    def say(self, payload: bytes, now_ms: int) -> None:
        """Put something on the line now, as it is."""
        if self.online:
            heapq.heappush(self._on_the_way, (self.link.up_at(len(payload), now_ms), next(self._places), "up", payload))

    @property
    def restarts(self) -> int:
        """How often it has started anew."""
        return self._restarts + self.firmware.resets

    @property
    def wants_line(self) -> bool:
        """Whether whoever holds its line should keep it, or try to get one."""
        return not self._drops and self.firmware.wants_line

    def dial_ms(self, now_ms: int) -> int | None:
        """When it next tries to get a line; None: it has one, or wants none."""
        return None if self._drops else self.firmware.dial_ms(now_ms)

    def dial_failed(self, now_ms: int, *, refused: bool = False) -> None:
        """No line was to be had."""
        self.firmware.dial_failed(now_ms, refused=refused)

    def reset(self, cause: ResetCause, now_ms: int) -> None:
        """Lose what is not in flash, with the line, and boot."""
        self.reboot(now_ms, cause)

    def hang(self, now_ms: int) -> None:
        """The program stands still until the watchdog bites."""
        self.firmware.hang(now_ms)

    def switch_off(self, now_ms: int) -> None:
        """Somebody pulls its plug."""
        self.lose_line(now_ms)
        self.firmware.switch_off(now_ms)

    def switch_on(self, now_ms: int) -> None:
        """Power is back."""
        self.firmware.switch_on(now_ms)

    def cover(self, covered: bool, now_ms: int) -> None:
        """Its link is cut until it is said to be there again, or is there again."""
        if covered:
            self.link.mend()
        else:
            self.link.cut(now_ms)
        self._look_for_coverage(now_ms)

    def press_fob(self, locks: bool, now_ms: int) -> list[bytes]:
        """Somebody presses the vehicle's own key fob beside it."""
        return self._out(self.firmware.press_fob(locks, now_ms), now_ms)

    def show_card(self, card: str, now_ms: int) -> list[bytes]:
        """Somebody holds an RFID card to the reader."""
        return self._out(self.firmware.show_card(card, now_ms), now_ms)

    def connected(self, now_ms: int) -> list[bytes]:
        """The line stands."""
        self._begin(now_ms)
        self.online, self._drops, self.spoken = True, False, True
        self.link.reset()
        said = self.firmware.connected(now_ms)
        for ailment in tuple(self.ailments.values()):
            said = said + ailment.connected(now_ms)
        return self._out(said, now_ms)

    def disconnected(self, now_ms: int) -> None:
        """The line is gone, and with it what was on its way."""
        self.lose_line(now_ms)
        self._drops = False

    def leaving(self, now_ms: int) -> list[bytes]:
        """The line is about to be closed in good order."""
        return self._through(self.firmware.leaving(now_ms), now_ms)

    def receive(self, payload: bytes, now_ms: int) -> list[bytes]:
        """Something leaves the broker for the unit."""
        arrives_at = self.link.down_at(len(payload), now_ms)
        if arrives_at <= now_ms:
            return self._out(self._hear(payload, now_ms), now_ms)
        heapq.heappush(self._on_the_way, (arrives_at, next(self._places), "down", payload))
        return []

    def tick(self, now_ms: int) -> list[bytes]:
        """Let time pass: what arrives now, then what the firmware and what is wrong with it have to say."""
        if self._pending:
            self._begin(now_ms)
        if not (self._is_plain and self.firmware.coverage and self.link.began_ms is not None):
            self.vehicle.advance(now_ms)
            self._look_for_coverage(now_ms)
        said = self.firmware.tick(now_ms)
        for ailment in tuple(self.ailments.values()):
            said = said + ailment.tick(now_ms)
        return self._out(said, now_ms)

    def brief(self, now_ms: int) -> tuple[list[bytes], int] | None:
        """See Firmware: only with nothing between it and its broker."""
        if not (self.online and self._is_plain and self.firmware.coverage) or self.link.began_ms is None:
            return None
        return self.firmware.brief(now_ms)

    @property
    def briefly(self) -> BriefUnit | None:
        """Its firmware, if that has a short way for many at once, and nothing is between it and its broker."""
        firmware, link = self.firmware, self.link
        if self.ailments or self._on_the_way or self._pending or self.rival is not None or link.began_ms is None:
            return None
        return firmware if isinstance(firmware, BriefUnit) and self.online and firmware.coverage and link.is_perfect else None

    def took_ack(self, payload: bytes, now_ms: int) -> bool:
        """See Firmware."""
        return self.online and self._is_plain and self.firmware.took_ack(payload, now_ms)

    def next_tick(self, now_ms: int) -> int:
        """The next thing that happens by itself."""
        if self._is_plain:
            return self.firmware.next_tick(now_ms)
        moments = [self.firmware.next_tick(now_ms), self.link.next_ms(now_ms)]
        moments += [ailment.next_ms(now_ms) for ailment in self.ailments.values()]
        if self._on_the_way:
            moments.append(self._on_the_way[0][0])
        if self.link.model.follows_the_road and self.vehicle.in_motion:
            moments.append(now_ms + COVERAGE_EVERY_MS)
        if self._pending:
            moments.append(now_ms)
        return max(now_ms, min(moment for moment in moments if moment is not None))

    @property
    def _is_plain(self) -> bool:
        """Whether there is nothing between the firmware and its broker: no fault, no delay, no gap."""
        return not (self.ailments or self._on_the_way or self._pending) and self.link.is_perfect

    def _begin(self, now_ms: int) -> None:
        while self._pending:
            ailment = self._pending.pop(0)
            self.ailments[ailment.fault.name] = ailment
            ailment.begins(now_ms)

    def _look_for_coverage(self, now_ms: int) -> None:
        covered = self._covered(now_ms)
        if covered is not self.firmware.coverage:
            if not covered:
                self.lose_line(now_ms)
            self.firmware.cover(covered, now_ms)

    def _covered(self, now_ms: int) -> bool:
        where = None
        if self.link.model.follows_the_road:
            place = self.vehicle.here
            where = Whereabouts(place.latitude, place.longitude, self.vehicle.distance_m - self._began_m)
        return self.link.stands(now_ms, where)

    def _hear(self, payload: bytes, now_ms: int) -> list[bytes]:
        heard = [payload]
        for ailment in tuple(self.ailments.values()):
            heard = [each for one in heard for each in ailment.down(one, now_ms)]
        said: list[bytes] = []
        for each in heard:
            said += self.firmware.receive(each, now_ms)
        return said

    def _through(self, payloads: list[bytes], now_ms: int) -> list[bytes]:
        for ailment in tuple(self.ailments.values()):
            payloads = ailment.up(payloads, now_ms)
        return payloads

    def _out(self, payloads: list[bytes], now_ms: int) -> list[bytes]:
        """Put on the line what is said, and take off it what has arrived by now, on either side."""
        if self._is_plain:
            return payloads if self.online else []
        arrived: list[bytes] = []
        self._put(payloads, now_ms, arrived)
        while self._on_the_way and self._on_the_way[0][0] <= now_ms:
            _, _, way, payload = heapq.heappop(self._on_the_way)
            if way == "up":
                arrived.append(payload)
            else:
                self._put(self._hear(payload, now_ms), now_ms, arrived)
        return arrived if self.online else []

    def _put(self, payloads: list[bytes], now_ms: int, arrived: list[bytes]) -> None:
        for payload in self._through(payloads, now_ms) if payloads else ():
            arrives_at = self.link.up_at(len(payload), now_ms)
            if arrives_at <= now_ms:
                arrived.append(payload)
            else:
                heapq.heappush(self._on_the_way, (arrives_at, next(self._places), "up", payload))
