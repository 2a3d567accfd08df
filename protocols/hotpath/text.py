"""Changes as JSON lines: `{"vehicle_id": ..., "timestamp": ..., "changed": {...}}`, one for each row that changed something."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from protocols.hotpath import kernels
from protocols.hotpath.columns import NAME_SPACE, SAYING, WORD, SayingKind
from protocols.hotpath.rows import Ints
from protocols.hotpath.translator import Masks, Times


@dataclass(frozen=True, slots=True)
class Saying:
    """How a value is said: its key; a named value's names by number, or that it is a date in days since 1970-01-01; the axis of
    a value that is one of a position's two, which stand side by side and are said together."""

    key: str
    names: Sequence[object] = ()
    date: bool = False
    axis: str = ""


class Writer:
    """Writes the changes of some vehicles. `decimals` are models x values."""

    def __init__(
        self,
        sayings: Sequence[Saying],
        decimals: npt.NDArray[np.uint8],
        vehicle_ids: Sequence[str],
        *,
        path: kernels.Path | None = None,
    ) -> None:
        self._kernel = kernels.kernel(path or kernels.path_in_use)
        words = [json.dumps(name) for saying in sayings for name in saying.names]
        self._words = np.zeros(max(len(words), 1), WORD)
        for at, word in enumerate(words):
            _put(self._words[at], "text", "size", word)
        self._sayings = np.zeros(len(sayings), SAYING)
        begin = 0
        for at, saying in enumerate(sayings):
            each, opens = self._sayings[at], not saying.axis or sayings[at - 1].key != saying.key
            key = f"{json.dumps(saying.key)}:" if opens else ""
            axis = f"{'{' if opens else ','}{json.dumps(saying.axis)}:" if saying.axis else ""
            _put(each, "before", "before_size", key + axis)
            kind = SayingKind.NAME if saying.names else SayingKind.DATE if saying.date else SayingKind.NUMBER
            each["kind"], each["names"], each["names_n"] = kind, begin, len(saying.names)
            each["closes"] = bool(saying.axis) and not opens
            each["along"] = at if not saying.axis else at + 1 if opens else at - 1
            each["comma"] = opens
            begin += len(saying.names)
        names = [json.dumps(each).encode() for each in vehicle_ids]
        self._name_size = max(map(len, names), default=1)
        self._names = np.array([list(name.ljust(self._name_size, b"\0")) for name in names], np.uint8)
        self._decimals = np.ascontiguousarray(decimals, np.uint8)
        self._line_limit = 128 + self._name_size + len(sayings) * (2 * NAME_SPACE + 16)
        self._room = np.empty(0, np.uint8)

    def lines(self, values: Ints, changed: Masks, vehicles: Ints, times: Times, models: Ints) -> bytes:
        """The lines of these rows. `vehicles` are places in `vehicle_ids`, `models` in `decimals`; `times` in Unix ms."""
        needed = self._line_limit * (int(np.count_nonzero(changed)) + 1)
        if len(self._room) < needed:
            self._room = np.empty(needed, np.uint8)
        written = self._kernel.text(
            values, changed, vehicles, times, models, self._sayings, self._words, self._decimals, self._names, self._name_size,
            self._room,
        )  # fmt: skip
        return self._room[:written].tobytes()


def _put(where: np.void, text: str, size: str, said: str) -> None:
    raw = said.encode()
    if len(raw) > NAME_SPACE:
        raise ValueError(f"{said}: longer than {NAME_SPACE} bytes")
    where[text] = np.frombuffer(raw.ljust(NAME_SPACE, b"\0"), np.uint8)
    where[size] = len(raw)
