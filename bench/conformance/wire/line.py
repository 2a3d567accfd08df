"""What every line can do, and those that live in real time."""

import queue
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from bench.conformance.packets import Connect, Publish
from bench.conformance.requirement import NotExecuted
from devices.vehicle import Vehicle

SOCKET_TIMEOUT_S = 0.5


POWER_COMMAND_TIMEOUT_S = 120.0


class WireError(Exception):
    """The line cannot be set up; the message is for people."""


@dataclass(frozen=True, slots=True)
class Heard:
    """Something the unit did. `at_ms` is the wire's clock; `payload` what it said, or of a `connect` nothing."""

    at_ms: int
    what: Literal["connect", "subscribe", "payload", "presence", "lost", "other"]
    payload: bytes = b""
    connect: Connect | None = None
    publish: Publish | None = None
    filters: tuple[tuple[str, int], ...] = ()


class Wire:
    """What every line can do. `sees_session`: MQTT packets themselves are seen; `virtual`: waiting costs no time."""

    sees_session = False
    sees_presence = False
    virtual = False
    vehicle: Vehicle | None = None

    def __init__(self) -> None:
        self.heard: list[Heard] = []

    def now_ms(self) -> int:
        """The wire's clock, Unix milliseconds."""
        return time.time_ns() // 1_000_000

    def pump(self, seconds: float) -> bool:
        """Wait until something more is in `heard`, at most so long; whether there is."""
        raise NotImplementedError

    def say(self, payload: bytes) -> None:
        """Send a payload down to the unit."""
        raise NotImplementedError

    def cut(self) -> None:
        """End the unit's connection; it may come back."""
        raise NotExecuted("this line cannot be cut by the kit", "let the unit connect to the kit (--listen)")

    def power_cycle(self) -> None:
        """Switch the unit off and on."""
        raise NotExecuted("the kit cannot switch the unit off and on", "give --power-command")

    def close(self) -> None:
        """Let go of everything."""


class LiveWire(Wire):
    """A line in real time: threads hear, `pump` takes from their queue."""

    def __init__(self, power_command: str | None = None) -> None:
        super().__init__()
        self._news: queue.Queue[Heard] = queue.Queue()
        self._power_command = power_command
        self._closed = threading.Event()

    def pump(self, seconds: float) -> bool:
        """Wait for news."""
        try:
            self.heard.append(self._news.get(timeout=max(0.0, seconds)))
        except queue.Empty:
            return False
        while not self._news.empty():
            self.heard.append(self._news.get_nowait())
        return True

    def power_cycle(self) -> None:
        """By the command that was given."""
        if self._power_command is None:
            super().power_cycle()
            return
        done = subprocess.run(self._power_command, shell=True, capture_output=True, text=True, timeout=POWER_COMMAND_TIMEOUT_S)
        if done.returncode:
            reason = f"--power-command ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-200:]}"
            raise NotExecuted(reason, "give a command that switches the unit off and on")

    def tell(self, what: Any, **facts: Any) -> None:
        """Take in news, from whatever thread."""
        self._news.put(Heard(self.now_ms(), what, **facts))

    def thread(self, work: Callable[..., None], *given: Any) -> None:
        """Do it in the background for as long as the program lives."""
        threading.Thread(target=work, args=given, daemon=True).start()
