"""What every simulated unit is to the fleet, whatever protocol it speaks: bytes in, bytes out, time as an argument."""

from typing import Protocol

from devices.config import UnitConfig
from devices.flash import Flash
from devices.power import Phase, ResetCause
from devices.senses import Senses
from devices.vehicle import Vehicle


class Firmware(Protocol):
    """A unit that is switched on. Times are Unix milliseconds; each call returns the payloads to publish on `up`, in order.

    The flash is stored before a call returns payloads, and before a command moves anything; where that fails the store's OSError
    passes through, and nothing goes out or moves.
    """

    config: UnitConfig
    vehicle: Vehicle
    flash: Flash
    phase: Phase
    reset_cause: ResetCause
    resets: int
    coverage: bool
    senses: Senses

    @property
    def wants_line(self) -> bool:
        """Whether whoever holds its line should keep it, or try to get one."""

    def dial_ms(self, now_ms: int) -> int | None:
        """When it next tries to get a line; None: it has one, or wants none."""

    def dial_failed(self, now_ms: int, *, refused: bool = False) -> None:
        """No line was to be had; `refused`: its login was not accepted."""

    def reset(self, cause: ResetCause, now_ms: int) -> None:
        """Lose what is not in flash, with the line, and boot."""

    def hang(self, now_ms: int) -> None:
        """The program stands still until the watchdog bites."""

    def switch_off(self, now_ms: int) -> None:
        """Somebody pulls its plug."""

    def switch_on(self, now_ms: int) -> None:
        """Power is back."""

    def cover(self, covered: bool, now_ms: int) -> None:
        """There is a network, or there is none any more."""

    def press_fob(self, locks: bool, now_ms: int) -> list[bytes]:
        """Somebody presses the vehicle's own key fob beside it."""

    def show_card(self, card: str, now_ms: int) -> list[bytes]:
        """Somebody holds an RFID card to the reader."""

    def connected(self, now_ms: int) -> list[bytes]:
        """The line to the broker stands."""

    def disconnected(self, now_ms: int) -> None:
        """The line is gone; what was on its way counts as not arrived."""

    def leaving(self, now_ms: int) -> list[bytes]:
        """The line is about to be closed in good order; what is said last."""

    def receive(self, payload: bytes, now_ms: int) -> list[bytes]:
        """Take a payload from `down`. Whatever it is, nothing is raised: what may not pass is dropped and counted."""

    def tick(self, now_ms: int) -> list[bytes]:
        """Let time pass until `now_ms`."""

    def next_tick(self, now_ms: int) -> int:
        """When `tick` will next have something to do, unless something happens before."""

    def brief(self, now_ms: int) -> tuple[list[bytes], int] | None:
        """What `tick` and `next_tick` would say, a short way, if there is one now; None: there is not, and nothing happened."""

    def took_ack(self, payload: bytes, now_ms: int) -> bool:
        """Whether the payload was an Ack that leaves nothing to say or to look at sooner; if not it is for `receive`."""
