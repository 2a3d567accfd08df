"""`teleloop fleet` as a process of its own."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from bench.lab.process import Server
from devices.unitsfile import UnitRecord


class FleetProcess(Server):
    """Simulated units of a units file (0600, in `folder`) against `broker`. Its report is there when it has stopped."""

    def __init__(self, folder: Path, units: Sequence[UnitRecord], broker: str, arguments: Sequence[str] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.units_file = folder / "units.json"
        write_units(self.units_file, units)
        command = [sys.executable, "-m", "teleloop", "fleet", "--units", str(self.units_file), "--broker", broker]
        super().__init__([*command, "--report", "json", *arguments], folder)

    @property
    def report(self) -> dict[str, Any]:
        """What it reported when it stopped. Raises ValueError if it reported nothing."""
        last = next((line for line in reversed(self.output.splitlines()) if line.startswith("{")), "")
        said: dict[str, Any] = json.loads(last)
        return said


def write_units(path: Path, units: Sequence[UnitRecord]) -> None:
    """A units file, readable by its owner alone: it holds the units' secrets."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(msgspec.json.encode({"units": units}))


@contextmanager
def fleet(folder: Path, units: Sequence[UnitRecord], broker: str, arguments: Sequence[str] = ()) -> Iterator[FleetProcess]:
    """A running fleet, stopped at the end; `arguments` are further ones of `teleloop fleet`."""
    process = FleetProcess(folder, units, broker, arguments)
    try:
        process.start()
        yield process
    finally:
        process.stop()
