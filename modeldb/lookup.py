"""Rules of named values as a model file writes them: tables of raw values, of parts of a signal, of words."""

from typing import Any

from modeldb.draft import Draft
from modeldb.rule import BYTE_VALUES, AnyOf, Lookup, Raw, Rule, ranked
from modeldb.signals import Part, Signal
from modeldb.vocabulary import LAMP, Value

IMPLIED: dict[str, dict[str, Any]] = {
    "lamp": {"0": "OFF", "1": "ON", "2": "SENSOR_FAILURE"},
    "bool": {"0": False, "1": True},
}
"""What a part of a signal means for a lamp or a bool when the file does not say."""


def lookup(draft: Draft) -> Rule:
    """The rule of a named value. Raises ModelError."""
    said = draft.said
    if said.any_of is not None and said.signal is None:
        return _any_of_signals(draft, said.any_of)
    name, signal, part_name = _found(draft)
    if said.any_of is not None:
        if part_name:
            draft.wrong("any_of", "names parts of a whole signal")
        return _any_of_parts(draft, name, [draft.part(name, signal, each, "any_of") for each in said.any_of])
    if part_name:
        part = draft.part(name, signal, part_name, "signal")
        places = 1 << part.width
        table, order = _table(draft, places, IMPLIED.get(draft.known.kind))
        return Lookup(draft.known.key, name, part.mask, part.shift, table, ranked(order, places), (part_name,))
    places = _places(draft, name, signal, "signal")
    table, order = _table(draft, places, None, signal.values)
    return Lookup(draft.known.key, name, -1, 0, table, ranked(order, places), words=signal.values)


def _found(draft: Draft) -> tuple[str, Signal, str]:
    """The signal that the rule names, and the part of it; names of signals may have dots themselves."""
    said = draft.said.signal
    if said and "." in said and draft.table.find(said) is None:
        name, _, part = said.rpartition(".")
        return *draft.signal(name), part
    return *draft.signal(said), ""


def _places(draft: Draft, name: str, signal: Signal, field: str) -> int:
    """How many values of the whole signal a table tells apart."""
    if signal.type[0] != "u" and signal.type != "enum":
        draft.wrong(field, f"a {signal.type} cannot be looked up")
    if parts := signal.parts:
        draft.wrong(field, f"{name} has parts: name one ({', '.join(parts)}), or several in any_of")
    return int(min(BYTE_VALUES, signal.high + 1))


def _table(
    draft: Draft, places: int, implied: dict[str, Any] | None, words: tuple[str, ...] = ()
) -> tuple[tuple[Value | None, ...], list[int]]:
    """The lookup table of `map`, and the places in the order in which the file names them: as numbers, or as `words`."""
    known = draft.known
    said: dict[str, Any] | None = draft.said.map if draft.said.map is not None else implied
    if not said:
        draft.wrong("map", "missing")
    table: list[Value | None] = [None] * places
    order: list[int] = []
    for raw, value in said.items():
        place = _word(raw, words) if words else _raw_value(raw)
        if place is None:
            draft.wrong("map", f"{raw!r} is none of {', '.join(filter(None, words))}" if words else f"{raw!r} is no raw value")
        if place >= places:
            if draft.said.map is None:
                continue
            draft.wrong("map", f"{raw} is beyond {places - 1}")
        if not known.allows(value):
            choice = ", ".join(str(each).lower() if known.kind == "bool" else str(each) for each in known.values)
            draft.wrong("map", f"{value!r} is none of {choice}")
        if table[place] is not None:
            draft.wrong("map", f"{raw} stands there twice")
        table[place] = value
        order.append(place)
    return tuple(table), order


def _word(text: str, words: tuple[str, ...]) -> int | None:
    return words.index(text) if text and text in words else None


def _raw_value(text: str) -> int | None:
    """A raw value as a key: decimal, or hexadecimal after 0x."""
    digits, base = (text[2:], 16) if text[:2] in ("0x", "0X") else (text, 10)
    if not digits.isascii() or not digits.isalnum() or len(digits) > 20:
        return None
    try:
        return int(digits, base)
    except ValueError:
        return None


def _any_of_parts(draft: Draft, name: str, parts: list[Part]) -> Rule:
    """Several parts as one: the value of raw 1 if any says 1, else that of raw 0 if any says 0, else nothing."""
    if not parts:
        draft.wrong("any_of", "is empty")
    shift = min(part.shift for part in parts)
    span = max(part.shift + part.width for part in parts) - shift
    if 1 << span > BYTE_VALUES:
        draft.wrong("any_of", "the parts are more than eight bits apart")
    if draft.known.values == LAMP:
        draft.wrong("any_of", "has no meaning for a lamp")
    means, _ = _table(draft, 2, IMPLIED.get(draft.known.kind))
    table: list[Value | None] = []
    said = [[place >> (part.shift - shift) & (part.mask >> part.shift) for part in parts] for place in range(1 << span)]
    for states in said:
        table.append(means[1] if 1 in states else means[0] if 0 in states else None)
    mask = sum({part.mask for part in parts})
    order = sorted(range(1 << span), key=lambda place: (*_strangeness(said[place]), place))
    return Lookup(draft.known.key, name, mask, shift, tuple(table), ranked(order, 1 << span), draft.said.any_of or ())


def _strangeness(states: list[int]) -> tuple[int, int, int]:
    """Orders what a group may say: no failures before failures, all known before unknown ones, few that are on before many."""
    return states.count(2), states.count(3), states.count(1)


def _any_of_signals(draft: Draft, names: tuple[str, ...]) -> Rule:
    """Several whole signals as one: the map names the value that all must say first, then stronger ones that any may say."""
    if len(set(names)) < max(2, len(names)):
        draft.wrong("any_of", "must be two signals or more, each once; or parts of the one that `signal` names")
    found = [draft.signal(name, "any_of") for name in names]
    places = min(_places(draft, name, signal, "any_of") for name, signal in found)
    words = found[0][1].values
    if any(signal.values != words for _, signal in found):
        draft.wrong("any_of", "are signals that say different words")
    table, order = _table(draft, places, None, words)
    means: dict[Raw, Value] = {words[place] if words else place: value for place in order if (value := table[place]) is not None}
    return AnyOf(draft.known.key, tuple(raw for raw, _ in found), means, tuple(dict.fromkeys(means.values())))
