"""The packed columns that both kernels read: rules, change records, and how lanes are said; as kernel.c declares them."""

from enum import IntEnum
from typing import Any

import numpy as np

SILENT = -(2**31)
"""A value that says nothing."""
NO_CODE = -1
NAME_SPACE = 48


class RuleKind(IntEnum):
    """How a value is made: rint(raw * factor + bias); codes[table][raw >> shift & mask]; how many of steps[table] are reached."""

    NONE = 0
    SCALE = 1
    LOOK_UP = 2
    COUNT = 3


class SayingKind(IntEnum):
    """How a value is said."""

    NUMBER = 0
    NAME = 1
    DATE = 2


RULE: np.dtype[Any] = np.dtype(
    [
        *((name, "f8") for name in ("factor", "bias")),
        *((name, "i8") for name in ("low", "high", "mask")),
        ("most", "u8"),
        *((name, "u4") for name in ("at", "bit", "lane", "table")),
        *((name, "u1") for name in ("width", "is_signed", "shift", "kind", "raw_shift", "sign_bits", "pad_1", "pad_2")),
        ("raw_mask", "u4"),
    ],
    align=True,
)
"""One rule of one model: from the raw lane at byte `at`, present by `bit`, to the value `lane`. A raw value above `most`
is none; where `sign_bits` is not 0, the lowest so many bits are a number in two's complement if no higher one is set."""

CHANGE: np.dtype[Any] = np.dtype([("at_ms", "i8"), ("vehicle", "u4"), ("lane", "u4"), ("value", "i4"), ("row", "u4")], align=True)
"""One change: when it was captured (Unix ms), of which vehicle, which lane says what, and the row it came with."""

SAYING: np.dtype[Any] = np.dtype(
    [
        ("before", f"{NAME_SPACE}u1"), ("before_size", "u4"), ("kind", "u4"), ("names", "u4"), ("names_n", "u4"),
        ("closes", "u4"), ("comma", "u4"), ("along", "u8"),
    ],
    align=True,
)  # fmt: skip
WORD: np.dtype[Any] = np.dtype([("text", f"{NAME_SPACE}u1"), ("size", "u8")], align=True)
