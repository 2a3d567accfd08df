"""A broker as our own child process: started, watched, started again when it falls, ended with us."""

import asyncio
import atexit
import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

STOP_TIMEOUT_S = 5.0
RESTART_PAUSE_S = 0.5
LOG_POLL_S = 0.5
LOG_LIMIT_BYTES = 5 * 2**20

log = structlog.get_logger(__name__)


def pick_port(host: str, wanted: int) -> int:
    """`wanted` if it is free on this host, else any free port."""
    for port in (wanted, 0):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            if os.name == "posix":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((host, port))
                return int(probe.getsockname()[1])
    raise OSError(f"no free port on {host}")


def _command_line(pid: int) -> str:
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
        except OSError:
            return ""
    return subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout


def end_orphan(pid_file: Path, config_file: Path, timeout_s: float = STOP_TIMEOUT_S) -> None:
    """End the broker that an earlier run left behind when it was killed; it is known by the config file it was started with."""
    try:
        pid = int(pid_file.read_text())
    except (OSError, ValueError):
        return
    give_up = time.monotonic() + timeout_s
    while str(config_file) in _command_line(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM if time.monotonic() < give_up else signal.SIGKILL)
        time.sleep(0.05)


class Child:
    """One process: `command` with the config file as its last word, output into `log_file`, its id in `pid_file`.

    `on_line` hears each line of the log, within half a second.
    """

    def __init__(self, command: Sequence[str], folder: Path, on_line: Callable[[str], None]) -> None:
        self._command = command
        self._pid_file = folder / "broker.pid"
        self._log_file = folder / "broker.log"
        self._on_line = on_line
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(self) -> None:
        """Start it, and again whenever it ends by itself. OSError when the program cannot be run."""
        self._log_file.write_bytes(b"")
        await self._spawn()
        atexit.register(self._end_at_exit)
        self._tasks = [asyncio.create_task(self._stay(), name="broker"), asyncio.create_task(self._read_log(), name="broker log")]

    async def stop(self) -> None:
        """End it, with time to save its sessions."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        atexit.unregister(self._end_at_exit)
        if self._process is None or self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        self._pid_file.unlink(missing_ok=True)

    def reload(self) -> None:
        """SIGHUP. Between two lives there is nothing to tell: it reads its files when it starts."""
        if (pid := self.pid) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGHUP)

    async def _spawn(self) -> None:
        with self._log_file.open("ab") as output:
            # A session of its own: Ctrl-C reaches the gateway alone, which ends the broker last.
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        self._pid_file.write_text(str(self._process.pid))

    async def _stay(self) -> None:
        while True:
            assert self._process is not None
            code = await self._process.wait()
            log.warning("broker ended, starting it again", exit_code=code, log=str(self._log_file))
            await asyncio.sleep(RESTART_PAUSE_S)
            await self._spawn()

    async def _read_log(self) -> None:
        with self._log_file.open("rb") as file:
            rest = b""
            while True:
                await asyncio.sleep(LOG_POLL_S)
                *lines, rest = (rest + file.read()).split(b"\n")
                for line in lines:
                    self._on_line(line.decode(errors="replace"))
                if file.tell() > LOG_LIMIT_BYTES:
                    os.truncate(self._log_file, 0)  # the broker appends, so it goes on at the new end
                    file.seek(0)

    def _end_at_exit(self) -> None:
        if (pid := self.pid) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
