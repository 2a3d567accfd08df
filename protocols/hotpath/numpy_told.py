"""The twin of tell.h, in plain Python."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from protocols.hotpath.columns import SILENT

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MS = 253402300799999
_FIRST_DAY, _LAST_DAY = -719162, 2932896
NUMBER, NAME, DATE, POSITION = range(4)

Packed = tuple[str, int, int, tuple[bytes, ...], int, int]


class Teller:
    """As the kernel's."""

    def __init__(self, lanes: int, models: list[tuple[int, list[Packed]]], /) -> None:
        for _, said in models:
            for _, lane, kind, *_ in said:
                if lane + (kind == POSITION) >= lanes:
                    raise ValueError("no properties of models")
        self._models = models

    def tell(self, values: Any, models: Any, times: Any, /) -> list[tuple[bytes, bytes, bytes] | None]:
        """For each row (properties, the same with their moment, mark), or None."""
        return [
            self._row(self._models[model], row, at) if 0 <= model < len(self._models) and 0 <= at <= _LAST_MS else None
            for row, model, at in zip(values.tolist(), models.tolist(), times.tolist(), strict=True)
        ]

    def _row(self, model: tuple[int, Sequence[Packed]], values: list[int], at: int) -> tuple[bytes, bytes, bytes] | None:
        number, properties = model
        said: dict[str, Any] = {}
        named, silent = b"", 0
        for bit, (key, lane, kind, words, decimals, further) in enumerate(properties):
            steps = values[lane]
            named += (steps if kind == NAME else 0).to_bytes(4, "little", signed=True)
            if steps == SILENT:
                silent |= 1 << bit
                continue
            if kind == NAME:
                if not 0 <= steps < len(words):
                    return None
                said[key] = msgspec.Raw(words[steps])
            elif kind == DATE:
                if not _FIRST_DAY <= steps <= _LAST_DAY:
                    return None
                said[key] = (_EPOCH + timedelta(days=steps)).date().isoformat()
            elif kind == POSITION:
                said[key] = {"lat": _fraction(steps, decimals), "lon": _fraction(values[lane + 1], further)}
            else:
                said[key] = _fraction(steps, decimals)
        stamp = (_EPOCH + timedelta(milliseconds=at)).isoformat(timespec="milliseconds" if at % 1000 else "seconds")
        shown = {key: {"timestamp": stamp.replace("+00:00", "Z"), "value": value} for key, value in said.items()}
        mark = number.to_bytes(8, "little", signed=True) + silent.to_bytes((len(properties) + 7) // 8, "little") + named
        return msgspec.json.encode(said), msgspec.json.encode(shown), mark


def _fraction(steps: int, decimals: int) -> float | int:
    return float(steps / 10**decimals) if decimals else steps
