"""Values as what clients see: a vehicle's properties in JSON, alone and each with its moment."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import msgspec
import numpy as np

from protocols.hotpath import kernels
from protocols.hotpath.rows import Ints
from protocols.hotpath.translator import Times


class Kind(IntEnum):
    """What the number of a property is: a number of steps, which name, which day since 1970-01-01, or a position's latitude."""

    NUMBER = 0
    NAME = 1
    DATE = 2
    POSITION = 3


@dataclass(frozen=True, slots=True)
class Property:
    """How a property is said: its key, where its number stands among the values, and what the number means.

    Ten to the power of `decimals` steps are one; those of `further` for a position's longitude, which stands behind its latitude.
    """

    key: str
    lane: int
    kind: Kind
    names: Sequence[Any] = ()
    decimals: int = 0
    further: int = 0


class WrittenJson(Mapping[str, Any]):
    """A JSON object that stands written already; read where somebody asks. Of most nobody does."""

    __slots__ = ("_read",)
    _read: dict[str, Any] | None

    @property
    def json(self) -> bytes:
        """The whole object."""
        raise NotImplementedError

    def plain(self) -> dict[str, Any]:
        """All of it."""
        said = self._read
        if said is None:
            said = self._read = _decode(self.json)
        return said

    def __getitem__(self, key: str) -> Any:
        return self.plain()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.plain())

    def __len__(self) -> int:
        return len(self.plain())

    def __repr__(self) -> str:
        return repr(self.plain())


class Values(WrittenJson):
    """Properties, `{"key": value, ...}`."""

    __slots__ = ("text",)

    def __init__(self, text: bytes) -> None:
        self.text, self._read = text, None

    @property
    def json(self) -> bytes:
        """The whole object."""
        return self.text

    def __bool__(self) -> bool:
        return self.text != b"{}"


_decode = msgspec.json.Decoder(dict[str, Any]).decode

Said = tuple[Mapping[str, Any], bytes, bytes]
"""What a row says: its properties; `{"key": {"timestamp": ..., "value": ...}, ...}` of the moment it was captured at; and a mark
that two rows share only if one model says the same properties in both, and the same names."""


class Teller:
    """Says the values of vehicles of some models, each with its number, which no other model anywhere has, and its properties."""

    def __init__(self, width: int, models: Sequence[tuple[int, Sequence[Property]]], *, path: kernels.Path | None = None) -> None:
        """`width` values a row."""
        packed = [(number, [_packed(each) for each in properties]) for number, properties in models]
        self._teller = kernels.kernel(path or kernels.path_in_use).Teller(width, packed)

    def tell(self, values: Ints, models: Ints, times: Times) -> list[Said | None]:
        """What each row says, as in Said; None where the model is none of these, or a moment, name or date is none there is."""
        said = self._teller.tell(np.ascontiguousarray(values, np.int32), models, np.ascontiguousarray(times, np.int64))
        return [each and (Values(each[0]), each[1], each[2]) for each in said]


def _packed(said: Property) -> tuple[str, int, int, tuple[bytes, ...], int, int]:
    words = tuple(json.dumps(name).encode() for name in said.names)
    return said.key, said.lane, int(said.kind), words, said.decimals, said.further
