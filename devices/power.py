"""What every unit's power, modem and sleep do, whatever protocol it speaks: a table of phases, and what moves it through them."""

import zlib
from collections import Counter
from collections.abc import Mapping
from enum import Enum, IntEnum, auto

from devices.config import UnitConfig
from devices.flash import Flash, Store, volatile
from devices.vehicle import Vehicle
from protocols.codec import Reason

DATA_PERIOD_MS = 30 * 24 * 3_600_000
PAYLOAD_COST_BYTES = 120
"""What MQTT, TCP and IP put around one payload, its acknowledgements included."""

OPENING = ("unlock-and-enable-driving", "unlock-central-lock", "enable-driving")
CLOSING = ("lock-and-disable-driving", "lock-central-lock", "disable-driving")
"""What a card does: the first of these that the vehicle is fitted for."""

LOW_SUPPLY_GAP_VOLTS = 0.3
"""How far the supply must recover before its next drop is told."""

STEADY_MS = 10_000
"""A line that is lost sooner than this was as good as none: the waits before the next ones go on growing."""

OFF_LOOK_MS = 60_000
"""How often a unit without power looks at its supply."""


class Phase(Enum):
    """What a unit is doing. REGISTERING: it looks for a line. NO_COVERAGE: it knows that there is none to be had."""

    OFF = "off"
    BOOTING = "booting"
    REGISTERING = "registering"
    ONLINE = "online"
    SLEEPING = "sleeping"
    NO_COVERAGE = "no coverage"


class Happening(Enum):
    """What moves a unit from one phase to the next."""

    SWITCHED_ON = auto()
    BOOTED = auto()
    LINE_UP = auto()
    LINE_LOST = auto()
    FELL_ASLEEP = auto()
    WOKE = auto()
    COVERAGE_LOST = auto()
    COVERAGE_BACK = auto()
    RESET = auto()
    SUPPLY_LOST = auto()
    SWITCHED_OFF = auto()


_ALWAYS = {Happening.RESET: Phase.BOOTING, Happening.SUPPLY_LOST: Phase.OFF, Happening.SWITCHED_OFF: Phase.OFF}

NEXT: Mapping[tuple[Phase, Happening], Phase] = {
    **{(phase, what): after for phase in Phase for what, after in _ALWAYS.items()},
    (Phase.OFF, Happening.SWITCHED_ON): Phase.BOOTING,
    (Phase.BOOTING, Happening.BOOTED): Phase.REGISTERING,
    (Phase.REGISTERING, Happening.LINE_UP): Phase.ONLINE,
    (Phase.REGISTERING, Happening.COVERAGE_LOST): Phase.NO_COVERAGE,
    (Phase.ONLINE, Happening.LINE_LOST): Phase.REGISTERING,
    (Phase.ONLINE, Happening.COVERAGE_LOST): Phase.NO_COVERAGE,
    (Phase.ONLINE, Happening.FELL_ASLEEP): Phase.SLEEPING,
    (Phase.SLEEPING, Happening.WOKE): Phase.ONLINE,
    (Phase.SLEEPING, Happening.LINE_LOST): Phase.REGISTERING,
    (Phase.SLEEPING, Happening.COVERAGE_LOST): Phase.NO_COVERAGE,
    (Phase.NO_COVERAGE, Happening.COVERAGE_BACK): Phase.REGISTERING,
}
"""All there is: what is not in here changes nothing."""


class ResetCause(IntEnum):
    """Why a unit booted, as CloudBoxx says it."""

    POWER = 0
    WATCHDOG = 1
    BROWN_OUT = 2
    UPDATE = 3
    COMMAND = 4


class PoweredUnit:
    """A unit's power, modem and sleep. What speaks a protocol is made of this and says in `_boot` what a reset forgets.

    `behaviour` is how units of its brand behave, `phase` where it is in NEXT, `has_line` whether it believes to have a line,
    `coverage` whether there is a network, `reset_cause` why it booted last, `resets` how often since it was made; `resting`:
    parked and locked for so long that it says no more than that it is alive. Times are Unix milliseconds.
    """

    def __init__(self, config: UnitConfig, flash: Flash, vehicle: Vehicle, store: Store = volatile, reset_cause: int = 0) -> None:
        self.config, self.flash, self.vehicle = config, flash, vehicle
        self.behaviour = config.behaviour
        self._store = store
        self.phase = Phase.BOOTING
        self.reset_cause = ResetCause(reset_cause)
        self.resets = 0
        self.coverage = True
        self.has_line = False
        self.refused: Counter[Reason] = Counter()
        self.booted_at: int | None = None
        self._boot_from: int | None = None
        self._hung_at: int | None = None
        self._starved = False
        self._still_since: int | None = None
        self.resting = False
        self.supply_is_low = False
        self.cards_shown: Counter[str] = Counter()
        self._dial_at = self._dials = self._line_since = 0

    @property
    def runs(self) -> bool:
        """Whether its program runs: it has power, has booted, and does not hang."""
        return self.phase not in (Phase.OFF, Phase.BOOTING) and self._hung_at is None

    @property
    def wants_line(self) -> bool:
        """Whether whoever holds its line should keep it, or try to get one: not without power, program or network."""
        return self.phase in (Phase.REGISTERING, Phase.ONLINE, Phase.SLEEPING)

    def dial_ms(self, now_ms: int) -> int | None:
        """When it next tries to get a line; None: it has one, or wants none."""
        return max(now_ms, self._dial_at) if self.phase is Phase.REGISTERING else None

    def dial_failed(self, now_ms: int, *, refused: bool = False) -> None:
        """No line was to be had; `refused`: its login was not accepted. The next try is later, and never with all others."""
        self._dial_later(now_ms, self.behaviour.refused_backoff_s if refused else self.behaviour.backoff_s)

    def reset(self, cause: ResetCause, now_ms: int) -> None:
        """Lose what is not in flash, with the line, and boot: `cause` is told afterwards."""
        self.reset_cause, self.resets = cause, self.resets + 1
        self._boot_from, self._hung_at, self._starved = now_ms, None, False
        self._lose_line(now_ms)
        self._happens(Happening.RESET)
        self._boot()

    def hang(self, now_ms: int) -> None:
        """The program stands still until the watchdog bites."""
        self._hung_at = now_ms

    def switch_off(self, now_ms: int) -> None:
        """Somebody pulls its plug."""
        self._lose_line(now_ms)
        self._starved = False
        self._happens(Happening.SWITCHED_OFF)

    def switch_on(self, now_ms: int) -> None:
        """Power is back; a unit that has it already does not notice."""
        if self.phase is Phase.OFF:
            self._start(ResetCause.POWER, now_ms)

    def press_fob(self, locks: bool, now_ms: int) -> list[bytes]:
        """Somebody presses the vehicle's own key fob beside it: the vehicle locks or unlocks unless its ignition is on."""
        if not self.vehicle.ignition:
            self.vehicle.locked = locks
        self._because_of_fob()
        return self.tick(now_ms)

    def show_card(self, card: str, now_ms: int) -> list[bytes]:
        """Somebody holds an RFID card to the reader: one of `config.cards` opens the vehicle, or closes it if it is open.

        `cards_shown` counts what came of it: "opened", "closed", "unknown", or the vehicle's word for why not.
        """
        if not self._live(now_ms):
            return []
        outcome = "unknown"
        self._because_of_card(card)
        if card in self.config.cards:
            acts = OPENING if self.vehicle.locked else CLOSING
            act = next((each for each in acts if each in self.vehicle.commands), acts[0])
            outcome = self.vehicle.execute(act) or ("opened" if acts is OPENING else "closed")
        self.cards_shown[outcome] += 1
        self._wake_up(now_ms)
        return self.tick(now_ms)

    def over_budget(self, now_ms: int) -> bool:
        """Whether the SIM's data for these 30 days are used up."""
        budget = self.behaviour.data_budget_bytes
        if not budget:
            return False
        self._roll_data_period(now_ms)
        return self.flash.data_bytes >= budget

    def cover(self, covered: bool, now_ms: int) -> None:
        """There is a network, or there is none any more: then the line is lost and nothing is dialled."""
        if covered is self.coverage:
            return
        self.coverage = covered
        if covered:
            self._dials, self._dial_at = 0, now_ms
            self._happens(Happening.COVERAGE_BACK)
        else:
            self._lose_line(now_ms)
            self._happens(Happening.COVERAGE_LOST)

    def tick(self, now_ms: int) -> list[bytes]:
        """Let time pass until `now_ms`."""
        raise NotImplementedError

    def brief(self, now_ms: int) -> tuple[list[bytes], int] | None:
        """There is no short way."""
        return None

    def took_ack(self, payload: bytes, now_ms: int) -> bool:
        """There is no short way."""
        return False

    def _because_of_fob(self) -> None:
        """Where the protocol tells causes: the next change comes from a fob."""

    def _because_of_card(self, card: str) -> None:
        """Where the protocol tells of cards: this one was shown, whether it opens anything or not."""

    def _spent(self, payloads: list[bytes], now_ms: int) -> list[bytes]:
        """These go over the air."""
        flash = self.flash
        if payloads:
            if now_ms // DATA_PERIOD_MS != flash.data_period:
                self._roll_data_period(now_ms)
            flash.data_bytes += sum(map(len, payloads)) + PAYLOAD_COST_BYTES * len(payloads)
        return payloads

    def _roll_data_period(self, now_ms: int) -> None:
        if now_ms // DATA_PERIOD_MS != self.flash.data_period:
            self.flash.data_period, self.flash.data_bytes = now_ms // DATA_PERIOD_MS, 0

    def _boot(self) -> None:
        """Set all that is in RAM as it is after a reset."""
        raise NotImplementedError

    def _line_lost(self, now_ms: int) -> None:
        """What the protocol forgets with a line."""

    def _happens(self, what: Happening) -> None:
        self.phase = NEXT.get((self.phase, what), self.phase)

    def _line_up(self, now_ms: int) -> bool:
        """The line stands. False: nobody is there to use it."""
        if not self._live(now_ms):
            return False
        self.has_line, self._line_since = True, now_ms
        if not self.coverage:
            self.coverage = True
            self._happens(Happening.COVERAGE_BACK)
        self._happens(Happening.LINE_UP)
        return True

    def disconnected(self, now_ms: int) -> None:
        """The line is gone; what was on its way counts as not arrived."""
        self._lose_line(now_ms)

    def _lose_line(self, now_ms: int) -> None:
        if self.has_line:
            self.has_line = False
            self._line_lost(now_ms)
            if now_ms - self._line_since >= STEADY_MS:
                self._dials = 0
            self._dial_later(now_ms, (0.1, self.behaviour.backoff_s[1]))
        self._happens(Happening.LINE_LOST)

    def _live(self, now_ms: int) -> bool:
        """Let the vehicle live until now, and see what its supply and the watchdog do to the unit: False if it is not running."""
        vehicle = self.vehicle.bare
        vehicle.advance(now_ms)
        volts = vehicle.supply_voltage * 12.0 / vehicle.system_voltage
        if self.phase is Phase.OFF:
            if not self._starved or volts < self.behaviour.restart_volts:
                return False
            self._start(ResetCause.BROWN_OUT, now_ms)
        elif volts < self.behaviour.brown_out_volts:
            self._lose_line(now_ms)
            self._starved = True
            self._happens(Happening.SUPPLY_LOST)
            return False
        self.supply_is_low = volts < self.behaviour.low_volts + (LOW_SUPPLY_GAP_VOLTS if self.supply_is_low else 0.0)
        return self._runs(now_ms)

    def _runs(self, now_ms: int) -> bool:
        if self._hung_at is not None:
            if now_ms < self._hung_at + 1000 * self.behaviour.watchdog_s:
                return False
            self.reset(ResetCause.WATCHDOG, now_ms)
        if self.phase is Phase.BOOTING:
            if self._boot_from is None:
                self._boot_from = now_ms
            if now_ms < self._boot_from + 1000 * self.behaviour.boot_s:
                return False
            self.booted_at, self._dial_at, self._dials = now_ms, now_ms, 0
            self._happens(Happening.BOOTED)
            if not self.coverage:
                self._happens(Happening.COVERAGE_LOST)
        self._rest(now_ms)
        return True

    def _start(self, cause: ResetCause, now_ms: int) -> None:
        self.reset(cause, now_ms)

    def _rest(self, now_ms: int) -> None:
        """Fall asleep, or wake up."""
        vehicle, after_s = self.vehicle.bare, self.behaviour.sleep_after_s
        if not vehicle.locked or vehicle.ignition or vehicle.in_motion or vehicle.charging:
            self._still_since = None
        elif self._still_since is None:
            self._still_since = now_ms
        still = self._still_since is not None and now_ms >= self._still_since + 1000 * after_s
        self.resting = bool(after_s) and still
        if self.resting is not (self.phase is Phase.SLEEPING):
            self._happens(Happening.FELL_ASLEEP if self.resting else Happening.WOKE)

    def _wake_up(self, now_ms: int) -> None:
        """Something was said to it: it stays awake for a while."""
        if self._still_since is not None:
            self._still_since = now_ms
        self.resting = False
        self._happens(Happening.WOKE)

    def _power_moments(self, now_ms: int) -> int | None:
        """When power, program or sleep change by themselves; what `next_tick` may not miss."""
        if self.phase is Phase.OFF:
            return now_ms + OFF_LOOK_MS
        if self._hung_at is not None:
            return self._hung_at + round(1000 * self.behaviour.watchdog_s)
        if self.phase is Phase.BOOTING:
            return (now_ms if self._boot_from is None else self._boot_from) + round(1000 * self.behaviour.boot_s)
        sleeps = refilled = None
        if self._still_since is not None and not self.resting and self.behaviour.sleep_after_s:
            sleeps = self._still_since + 1000 * self.behaviour.sleep_after_s
        if self.over_budget(now_ms):
            refilled = (self.flash.data_period + 1) * DATA_PERIOD_MS
        return sleeps if refilled is None else refilled if sleeps is None else min(sleeps, refilled)

    def _dial_later(self, now_ms: int, backoff_s: tuple[float, float]) -> None:
        """The next try: twice as late each time, shortened by a chance that comes out the same in every run."""
        first_s, limit_s = backoff_s
        wait_s = min(first_s * 2.0 ** min(self._dials, 10), limit_s)
        self._dials += 1
        chance = zlib.crc32(f"{self.config.unit}/{now_ms}/{self._dials}".encode()) / (1 << 32)
        self._dial_at = now_ms + round(1000 * wait_s * (0.5 + chance / 2))
