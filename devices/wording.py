"""What a vehicle's values are called and counted as on one model's wires: a model's rules backwards, kept ready for its units."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from modeldb.model import Translation
from modeldb.rule import Raw
from modeldb.saying import Saying

COMBINATIONS_LIMIT = 4_096
"""Combinations of named values whose raw signals are remembered: a fleet shows a few hundred."""

Words = tuple[tuple[str, ...], list[Raw]]
"""Names of raw signals, and their values. Equal names are, as a rule, the same object."""


class Wording:
    """How units of one model say vehicles of the same properties."""

    def __init__(self, saying: Saying) -> None:
        self.saying = saying
        self._known: dict[tuple[Any, ...], Words] = {}

    def signals(self, values: Sequence[Any]) -> Words:
        """What says `values`, those of the properties in their order."""
        names, rest = self.named(values)
        return names, rest + self.saying.numbers(values)

    def named(self, values: Sequence[Any]) -> Words:
        """All names, and what says the part of `values` that has few; then come the numbers."""
        saying = self.saying
        wanted = saying.named(values)
        known = self._known.get(wanted)
        if known is None:
            if len(self._known) >= COMBINATIONS_LIMIT:
                self._known.clear()
            written = saying.write(wanted)
            known = self._known[wanted] = ((*written, *saying.number_names), list(written.values()))
        return known


@lru_cache(maxsize=4_096)
def wording(translation: Translation, properties: tuple[str, ...]) -> Wording | None:
    """That of a model's units; None where its rules are not to be had like that."""
    saying = translation.saying(properties)
    return None if saying is None else Wording(saying)
