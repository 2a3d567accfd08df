"""Rows to values, changes and text in numpy; the arguments are those of the same functions in kernel.c."""

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from protocols.hotpath.columns import CHANGE, NO_CODE, SILENT, RuleKind, SayingKind

Array = npt.NDArray[Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Rules:
    """The rules of some models."""

    def __init__(
        self,
        row_size: int,
        width: int,
        rules: Array,
        starts: Array,
        codes: Array,
        steps: Array,
        steps_width: int,
        pairs: Array,
        /,
    ) -> None:
        self._rules = [rules[begin:end] for begin, end in pairwise(starts.tolist())]
        self._codes, self._steps, self._pairs = codes, steps, pairs.reshape(-1, 2).tolist()

    def translate(self, rows: Array, models: Array, values: Array, /) -> None:
        """Rows to values by the rules of each row's model."""
        values[:] = SILENT
        for model in np.unique(models[(models >= 0) & (models < len(self._rules))]).tolist():
            (chosen,) = np.nonzero(models == model)
            mine = rows[chosen]
            for rule in self._rules[model]:
                there = (mine[:, rule["bit"] >> 3] >> (rule["bit"] & 7) & 1).astype(np.bool_)
                raw, fits = _raw(mine, rule)
                there &= fits & (rule["low"] <= raw) & (raw <= rule["high"])
                values[chosen[there], int(rule["lane"])] = _steps(raw[there], rule, self._codes, self._steps)
        for first, second in self._pairs:
            silent = (values[:, first] == SILENT) | (values[:, second] == SILENT)
            values[silent, first] = values[silent, second] = SILENT


def _raw(rows: Array, rule: Any) -> tuple[Array, Array]:
    """The raw values as 64-bit numbers with a sign, and which of them fit."""
    at, width = int(rule["at"]), int(rule["width"])
    raw = np.zeros(len(rows), np.uint64)
    for byte in range(width):
        raw |= rows[:, at + byte].astype(np.uint64) << np.uint64(8 * byte)
    spare = 64 - 8 * width
    if rule["is_signed"]:
        return (raw << np.uint64(spare)).astype(np.int64) >> spare, np.ones(len(rows), np.bool_)
    fits = raw <= np.uint64(rule["most"])
    if rule["raw_mask"]:
        raw = raw >> np.uint64(rule["raw_shift"]) & np.uint64(rule["raw_mask"])
    found = raw.astype(np.int64)
    if bits := int(rule["sign_bits"]):
        found -= (raw >> np.uint64(bits - 1) == 1).astype(np.int64) << bits
    return found, fits


def _steps(raw: Array, rule: Any, codes: Array, steps: Array) -> Array:
    match RuleKind(int(rule["kind"])):
        case RuleKind.SCALE:
            scaled = np.rint(raw * rule["factor"] + rule["bias"])
            fits = (scaled >= -(2**31)) & (scaled < 2**31)
            return np.where(fits, scaled, SILENT).astype(np.int32)
        case RuleKind.LOOK_UP:
            found = codes[rule["table"], raw >> rule["shift"] & rule["mask"] & 255].astype(np.int32)
            return np.where(found == NO_CODE, np.int32(SILENT), found)
        case RuleKind.COUNT:
            reached: Array = (steps[rule["table"]] <= raw[:, None]).sum(axis=1, dtype=np.int32)
            return reached
    return np.full(len(raw), SILENT, np.int32)


def diff(values: Array, vehicles: Array, shadow: Array, moves: Array | None, changed: Array, /) -> None:
    """What each row changes of its vehicle's state; rows of one vehicle are taken in their order, round by round."""
    changed[:] = 0
    open_ = (vehicles >= 0) & (vehicles < len(shadow))
    if moves is not None:
        open_ &= moves[: len(vehicles)] != 0
    left = np.flatnonzero(open_)
    bits = np.uint64(1) << np.arange(values.shape[1], dtype=np.uint64)
    while len(left):
        _, first = np.unique(vehicles[left], return_index=True)
        now = left[first]
        said, state = values[now], shadow[vehicles[now]]
        new = (said != SILENT) & (said != state)
        changed[now] = (new * bits).sum(axis=1, dtype=np.uint64)
        shadow[vehicles[now]] = np.where(new, said, state)
        left = np.delete(left, first)


def records(values: Array, changed: Array, vehicles: Array, times: Array, out: Array, /) -> int:
    """One record for each change, in the rows' order."""
    new = (changed[:, None] >> np.arange(values.shape[1], dtype=np.uint64) & np.uint64(1)).astype(np.bool_)
    rows, lanes = np.nonzero(new)
    if len(rows) > len(out):
        raise BufferError(f"{len(rows)} records")
    there = out.view(CHANGE).reshape(-1)[: len(rows)]
    there["at_ms"], there["vehicle"], there["lane"] = times[rows], vehicles[rows], lanes
    there["value"], there["row"] = values[rows, lanes], rows
    return len(rows)


def text(
    values: Array, changed: Array, vehicles: Array, times: Array, models: Array, sayings: Array, words: Array, decimals: Array,
    names: Array, name_size: int, out: Array, /,
) -> int:  # fmt: skip
    """One JSON object a line for each row with changes; in Python, as a JSON writer would be."""
    texts = [bytes(word["text"][: word["size"]]).decode() for word in words]
    befores = [bytes(each["before"][: each["before_size"]]).decode() for each in sayings]
    lines = []
    for row in np.flatnonzero(changed).tolist():
        vehicle, model = int(vehicles[row]), int(models[row])
        if not (0 <= vehicle < len(names) and 0 <= model < len(decimals)):
            continue
        say = {lane for lane in range(values.shape[1]) if int(changed[row]) >> lane & 1}
        say |= {int(sayings[lane]["along"]) for lane in say}
        said = ""
        for lane in sorted(say):
            said += "," if said and sayings[lane]["comma"] else ""
            said += befores[lane] + _value(int(values[row, lane]), sayings[lane], texts, int(decimals[model, lane]))
        name = bytes(names[vehicle]).rstrip(b"\0").decode()
        lines.append(f'{{"vehicle_id":{name},"timestamp":"{_time(int(times[row]))}","changed":{{{said}}}}}\n')
    written = "".join(lines).encode()
    if len(written) > len(out):
        raise BufferError("the text is longer")
    out[: len(written)] = np.frombuffer(written, np.uint8)
    return len(written)


def _value(steps: int, saying: Any, texts: list[str], decimals: int) -> str:
    end = "}" if saying["closes"] else ""
    match SayingKind(int(saying["kind"])):
        case SayingKind.NAME:
            return (texts[int(saying["names"]) + steps] if 0 <= steps < saying["names_n"] else "null") + end
        case SayingKind.DATE:
            return json.dumps((_EPOCH + timedelta(days=steps)).date().isoformat()) + end
    sign, digits = "-" * (steps < 0), str(abs(steps)).rjust(decimals + 1, "0")
    return sign + (f"{digits[:-decimals]}.{digits[-decimals:]}" if decimals else digits) + end


def _time(at_ms: int) -> str:
    moment = _EPOCH + timedelta(milliseconds=at_ms)
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + (f".{at_ms % 1000:03}" if at_ms % 1000 else "") + "Z"
