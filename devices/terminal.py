"""A unit as it stands in the world: its firmware, the line that it speaks over, and what is wrong with either. Sans-io.

It is a `Firmware` itself: whoever drives units - a fleet on real connections, the bench under virtual time - drives this one.
"""

import heapq
import itertools
import random
from collections.abc import Iterable
from typing import Any, cast

from devices import power
from devices.faults.fault import Ailment, Fault, ResetCause
from devices.firmware import Firmware, UnitConfig, switch_on
from devices.flash import Flash, Store, volatile
from devices.line import PERFECT, LineModel, Link, Whereabouts
from devices.vehicle import Vehicle
from protocols.codec import UnitId

COVERAGE_EVERY_MS = 1_000
"""How often a vehicle on the road looks whether there is coverage where it is."""


class Seen:
    """The vehicle as its unit sees it: itself, but for what a fault puts between. Setting an attribute sets the vehicle's."""

    _own = frozenset({"_vehicle", "place", "acts"})

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
            place = self.at(self._vehicle.distance_m)
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


class Terminal:
    """One unit, switched on. `inject` and `cure` work at any time; `line` is its link."""

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
    ) -> None:
        """Raises FaultUnsuited for a fault that is not for units of this protocol."""
        self.protocol, self.config, self.vehicle = protocol, config, vehicle
        self._store, self._seed = store, seed
        self.seen = Seen(vehicle)
        self._began_m = vehicle.distance_m
        self.link = Link(line, random.Random(f"{seed}/{config.unit}/line"))
        self.firmware: Firmware = self.boot(config, flash)
        self.restarts = 0
        self.online = False
        self.drops = self.spoken = False
        self.neighbour: UnitId | None = None
        self.ailments: dict[str, Ailment] = {}
        self._pending = [fault.at_work(self, seed) for fault in faults]
        self._on_the_way: list[tuple[int, int, str, bytes]] = []
        self._places = itertools.count()

    @property
    def flash(self) -> Flash:
        """The firmware's."""
        return self.firmware.flash

    def boot(self, config: UnitConfig, flash: Flash) -> Firmware:
        """Firmware of this unit, as it starts."""
        return switch_on(self.protocol, config, flash, cast(Vehicle, self.seen), self._store)

    def inject(self, fault: Fault, now_ms: int) -> None:
        """Something goes wrong from now on; again: at another rate. Raises FaultUnsuited."""
        ailment = fault.at_work(self, self._seed)
        self.cure(fault.name, now_ms)
        self.ailments[fault.name] = ailment
        ailment.begins(now_ms)

    def cure(self, name: str, now_ms: int) -> None:
        """That goes wrong no more; no matter if it did not."""
        ailment = self.ailments.pop(name, None)
        if ailment is not None:
            ailment.ends(now_ms)

    def boot_elsewhere(self, flash: Flash) -> Firmware:
        """Firmware of the same unit in another vehicle of the same model, which stands still somewhere else."""
        vehicle = self.vehicle
        place = vehicle.route.at(vehicle.distance_m)
        other = Vehicle(
            properties=vehicle.properties,
            commands=vehicle.commands,
            kind=vehicle.kind,
            seed=self._seed + 1,
            latitude=place.latitude + 0.1,
            longitude=place.longitude,
        )
        return switch_on(self.protocol, self.config, flash, other, volatile)

    def reboot(self, now_ms: int, cause: ResetCause = 0) -> None:
        """Power is gone and back: the firmware starts anew on the flash as it was stored. The line is lost with it."""
        self.restart_with(Flash.load(self.flash.dump()), now_ms, cause)

    def restart_with(self, flash: Flash, now_ms: int, cause: ResetCause = 0) -> None:
        """As `reboot`, with another content of the flash."""
        before = self.firmware
        self.lose_line(now_ms)
        self.firmware = self.boot(self.config, flash)
        if hasattr(before, "rtc") and self.spoken:
            self.firmware.rtc = before.rtc  # type: ignore[attr-defined]
        self.firmware.reset_cause = power.ResetCause(cause)
        self.restarts += 1

    def lose_line(self, now_ms: int, of: Firmware | None = None) -> None:
        """The connection is gone without a word; whoever drives the unit closes it, and opens another."""
        if self.online:
            self.online, self.drops = False, True
            (of or self.firmware).disconnected(now_ms)
        self._on_the_way.clear()

    def say(self, payload: bytes, now_ms: int) -> None:
        """Put something on the line now, as it is."""
        if self.online:
            heapq.heappush(self._on_the_way, (self.link.up_at(len(payload), now_ms), next(self._places), "up", payload))

    def reachable(self, now_ms: int) -> bool:
        """Whether a connection can be made, or stay."""
        self._begin(now_ms)
        return not self.drops and self._covered(now_ms)

    def line_closed(self) -> None:
        """The connection that was lost is closed now; another may be opened."""
        self.drops = False

    def connected(self, now_ms: int) -> list[bytes]:
        """The line stands."""
        self._begin(now_ms)
        self.online, self.drops, self.spoken = True, False, True
        self.link.reset()
        said = self.firmware.connected(now_ms)
        for ailment in tuple(self.ailments.values()):
            said = said + ailment.connected(now_ms)
        return self._out(said, now_ms)

    def disconnected(self, now_ms: int) -> None:
        """The line is gone, and with it what was on its way."""
        self.lose_line(now_ms)
        self.drops = False

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
        self._begin(now_ms)
        self.vehicle.advance(now_ms)
        if self.online and not self._covered(now_ms):
            self.lose_line(now_ms)
        said = self.firmware.tick(now_ms)
        for ailment in tuple(self.ailments.values()):
            said = said + ailment.tick(now_ms)
        return self._out(said, now_ms)

    def next_tick(self, now_ms: int) -> int:
        """The next thing that happens by itself."""
        moments = [self.firmware.next_tick(now_ms), self.link.next_ms(now_ms)]
        moments += [ailment.next_ms(now_ms) for ailment in self.ailments.values()]
        if self._on_the_way:
            moments.append(self._on_the_way[0][0])
        if self.link.model.follows_the_road and self.vehicle.in_motion:
            moments.append(now_ms + COVERAGE_EVERY_MS)
        if self._pending:
            moments.append(now_ms)
        return max(now_ms, min(moment for moment in moments if moment is not None))

    def _begin(self, now_ms: int) -> None:
        while self._pending:
            ailment = self._pending.pop(0)
            self.ailments[ailment.fault.name] = ailment
            ailment.begins(now_ms)

    def _covered(self, now_ms: int) -> bool:
        where = None
        if self.link.model.follows_the_road:
            place = self.vehicle.route.at(self.vehicle.distance_m)
            where = Whereabouts(place.latitude, place.longitude, self.vehicle.distance_m - self._began_m)
        stands = self.link.stands(now_ms, where)
        return stands and not any(ailment.bars(now_ms) for ailment in self.ailments.values())

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
