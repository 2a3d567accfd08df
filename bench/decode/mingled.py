"""What frames of many layouts cost that are not as easy as the bench's own: of any sizes, and with wrong ones among them.

`python -m bench.decode.mingled` prints ns a frame of the walk in the kernel, CloudBoxx, seal left out, all cases in turns.
"""

from statistics import median

from bench.decode.__main__ import kernel_walk
from bench.decode.frames import cloudboxx, uneven
from bench.decode.timing import interleaved
from protocols.hotpath import BINDINGS, Decoder

FRAMES = 4096
TURNS = 20


def with_wrong(frames: list[bytes], every: int) -> list[bytes]:
    """The same with a wrong checksum in one of so many."""
    wrong = frames.copy()
    for at in range(7, len(frames), every):
        wrong[at] = frames[at][:-1] + bytes([frames[at][-1] ^ 1])
    return wrong


def cases(count: int = FRAMES) -> dict[str, tuple[list[bytes], list[bytes]]]:
    """What is walked by its name: frames to learn from, and frames to walk."""
    one, many = cloudboxx(count, 1), cloudboxx(count, 64)
    some, any_size = uneven(count, 64, 4, 20), uneven(count, 64, 9, 40)
    return {
        "1 layout": (one, one),
        "1 layout, 1 of 500 wrong": (one, with_wrong(one, 500)),
        "64 layouts": (many, many),
        "64 layouts, 1 of 500 wrong": (many, with_wrong(many, 500)),
        "64 layouts, 1 of 100 wrong": (many, with_wrong(many, 100)),
        f"64 layouts of 4 to 20 signals, {_sizes(some)}": (some, some),
        f"64 layouts of 9 to 40 signals, {_sizes(any_size)}": (any_size, any_size),
    }


def _sizes(frames: list[bytes]) -> str:
    sizes = sorted(map(len, frames))
    return f"{sizes[0]} to {sizes[-1]} bytes"


def measured(count: int = FRAMES, turns: int = TURNS) -> dict[str, float]:
    """Nanoseconds a frame, the median of the turns, by the case's name."""
    walks = {}
    for name, (lesson, frames) in cases(count).items():
        decoder = Decoder(BINDINGS["cloudboxx"], path="c", trusting=True)
        for _ in range(4):
            decoder.decode(lesson)
        walks[name] = (decoder, frames)
    found: dict[str, list[float]] = {name: [] for name in walks}
    for _ in range(turns):
        for name, seconds in interleaved({name: kernel_walk(*walk) for name, walk in walks.items()}, 3).items():
            found[name].append(seconds / count * 1e9)
    return {name: median(each) for name, each in found.items()}


if __name__ == "__main__":
    for case, nanoseconds in measured().items():
        print(f"{nanoseconds:6.1f} ns  {case}")
