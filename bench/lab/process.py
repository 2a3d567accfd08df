"""A server process in a group of its own: started, stopped, killed, frozen, and never left behind."""

import atexit
import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.lab.turns import long_turns

LOWEST_PORT, EPHEMERAL_PORT = 10_240, 32_768
"""Below the second the system takes none for connections, where it does not say otherwise itself."""

PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on, and that stays free until somebody asks for it by its number."""
    end = int(PORT_RANGE.read_text().split()[0]) if PORT_RANGE.exists() else EPHEMERAL_PORT
    if end <= LOWEST_PORT:  # then any may be taken for a connection
        end = EPHEMERAL_PORT
    for _ in range(100):
        port = LOWEST_PORT + secrets.randbelow(end - LOWEST_PORT)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((host, port))
            return port
    raise OSError(f"no free port from {LOWEST_PORT} to {end} at {host}")


def wait_until(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Poll until the condition holds; TimeoutError names what was waited for."""
    give_up = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > give_up:
            raise TimeoutError(f"{what}: not within {timeout_s:g} s")
        time.sleep(0.03)


def listens(port: int, host: str = "127.0.0.1") -> bool:
    """Whether somebody accepts TCP connections there."""
    try:
        socket.create_connection((host, port), 0.5).close()
    except OSError:
        return False
    return True


class Server:
    """`command`, in `folder`, with its output in `folder`/output.log."""

    def __init__(self, command: Sequence[str | Path], folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.command = [str(word) for word in command]
        self.folder = folder
        self.environment = dict(os.environ) | dict(environment or {})
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process id, which is its group's too."""
        assert self.process is not None
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process is not None and self.process.poll() is None

    @property
    def output(self) -> str:
        """What it wrote so far."""
        path = self.folder / "output.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> None:
        """Start it; it may take a while until it listens. From now on SIGTERM ends this process as Ctrl-C does."""
        _end_in_good_order()
        with (self.folder / "output.log").open("ab") as output, long_turns():
            self.process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        atexit.register(self.kill)

    def wait_for_port(self, port: int, timeout_s: float = 20.0) -> None:
        """Until it listens; RuntimeError with its last words when it ends instead."""

        def ready() -> bool:
            if not self.running:
                raise RuntimeError(f"{self.command[0]} ended: {self.output[-2000:]}")
            return listens(port)

        wait_until(ready, timeout_s, f"{self.command[0]} on port {port}")

    def send(self, number: signal.Signals) -> None:
        """A signal to the whole group."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def stop(self, timeout_s: float = 10.0) -> None:
        """SIGTERM, and SIGKILL where that does not help."""
        if self.process is None:
            return
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout_s)
        self.kill()

    def kill(self) -> None:
        """SIGKILL: no time to save anything."""
        if self.process is not None:
            self.send(signal.SIGKILL)
            self.process.wait()
            self.process = None
            atexit.unregister(self.kill)

    def freeze(self) -> None:
        """SIGSTOP: it holds its connections and answers nothing."""
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self.send(signal.SIGCONT)


def _end_in_good_order() -> None:
    """What SIGTERM ends at once leaves its servers behind. Whoever listens to the signal already knows what to do."""
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
