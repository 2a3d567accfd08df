"""Thread CPU time, cases taking turns: what else the machine does hits all of them alike."""

import gc
import time
from collections.abc import Callable, Mapping
from statistics import median

ROUND_S = 0.02
"""How long one case runs in one round, at least once."""

Case = Callable[[], object]


def interleaved(cases: Mapping[str, Case], rounds: int = 7) -> dict[str, float]:
    """Seconds of thread CPU time that one call of each case takes: the median of some rounds."""
    repeats = {}
    for name, case in cases.items():
        case()
        begin = time.thread_time()
        case()
        repeats[name] = max(1, int(ROUND_S / max(time.thread_time() - begin, 1e-6)))
    found: dict[str, list[float]] = {name: [] for name in cases}
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, case in cases.items():
                begin = time.thread_time()
                for _ in range(repeats[name]):
                    case()
                found[name].append((time.thread_time() - begin) / repeats[name])
    finally:
        gc.enable()
    return {name: median(times) for name, times in found.items()}
