"""What processes cost: CPU seconds and memory, of a process with its children, from /proc (proc(5)). Elsewhere: nothing."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


@dataclass(frozen=True, slots=True)
class Reading:
    """CPU seconds so far, and resident memory in MiB."""

    cpu_s: float = 0.0
    rss_mib: float = 0.0


def _stat(pid: int) -> tuple[int, float, int] | None:
    """Parent, CPU seconds and resident pages of a process; None if it is gone."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return int(fields[1]), (int(fields[11]) + int(fields[12])) / _TICKS, int(fields[21])


def stolen() -> tuple[int, int]:
    """Of all processors' time so far, in ticks: what the host gave to others (`steal`), and all of it."""
    try:
        said = [int(each) for each in (PROC / "stat").read_text().split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return 0, 0
    return (said[7] if len(said) > 7 else 0), sum(said)


def family(pids: Iterable[int]) -> dict[int, set[int]]:
    """Each of these processes with all that descend from it."""
    parents = {int(each.name): _stat(int(each.name)) for each in PROC.glob("[0-9]*")} if PROC.is_dir() else {}
    wanted = {pid: {pid} for pid in pids}
    for pid in parents:
        line, at = [], pid
        while (said := parents.get(at)) is not None and at > 1 and at not in line:
            line.append(at)
            at = said[0]
        for root in set(line) & wanted.keys():
            wanted[root].add(pid)
    return wanted


def read(pids: Iterable[int]) -> Reading:
    """The sum over processes."""
    stats = [said for pid in pids if (said := _stat(pid)) is not None]
    return Reading(sum(said[1] for said in stats), sum(said[2] for said in stats) * _PAGE / (1 << 20))


@dataclass
class Meters:
    """Parts by name, each a process with its children, read again and again."""

    pids: Mapping[str, int]
    _families: dict[str, set[int]] = field(default_factory=dict)

    def look(self) -> dict[str, Reading]:
        """What each part has used so far. Children that came later are found."""
        if not self._families or any(not self._alive(pids) for pids in self._families.values()):
            self.find()
        return {name: read(pids) for name, pids in self._families.items()}

    def find(self) -> None:
        """Look for children anew."""
        found = family(self.pids.values())
        self._families = {name: found[pid] for name, pid in self.pids.items()}

    @staticmethod
    def _alive(pids: set[int]) -> bool:
        return any((PROC / str(pid)).exists() for pid in pids)


def machine() -> dict[str, str | int]:
    """What a result was measured on: processor, cores, memory, system, Python."""
    import platform

    model = platform.processor() or platform.machine()
    try:
        lines = (PROC / "cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
        memory = int((PROC / "meminfo").read_text().split()[1]) // 1024
    except (OSError, ValueError):
        memory = 0
    return {
        "processor": model,
        "cores": os.cpu_count() or 1,
        "memory_mib": memory,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
