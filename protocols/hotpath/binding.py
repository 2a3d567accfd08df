"""What a protocol says to the hot path: its framing, its lanes, and which bytes of a traced parse are data."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from protocols.codec import Frame, Peer, Protocol
from protocols.hotpath.framing import Framing, Guard, Window
from protocols.hotpath.plans import Part, Plan
from protocols.hotpath.rows import RowForm
from protocols.trace import Leaf, Trace

Values = tuple[Any, ...]


class Brief(msgspec.Struct, frozen=True, gc=False):
    """What is wanted of every frame of reports: its Frame in short. `records` are those of its reports, and when each was
    captured; `answer` is what Protocol.answer says where all of them are held, None if nothing. `signals` are those of each
    report, where the lanes of the rows are not."""

    kind: str
    sequence: int | None
    oldest_sequence: int | None
    clock_unsynchronised: bool
    records: Sequence[tuple[bytes, int]]
    answer: bytes | None = None
    signals: Sequence[Mapping[str, Any]] | None = None


class Stretches(NamedTuple):
    """Where the rows of frames are: those of frame i are `starts[i]` to `starts[i + 1]`, or at i where that is empty. `plans` are
    the rows' plans, None where nothing is vouched for."""

    starts: Sequence[int]
    plans: Sequence[Plan | None]


class Clock(NamedTuple):
    """Lanes that say the capture time: `lane * factor + further` is Unix time in milliseconds."""

    lane: str
    factor: int
    further: str = ""


@dataclass(frozen=True, slots=True)
class Binding:
    """One protocol's binding.

    `windows` are looked at to find a layout quickly; they show nothing but structure. `parts` reads the parts off a frame and
    the parses that it came from; None: this kind of frame always goes the slow way. `frame` makes the Frame that Protocol.decode
    gives, from each part's plan and values and the frame's bytes. `times` are the rows' capture times in Unix ms; `clock` says
    them too where they are a sum of lanes. `briefs` says in short what each Frame says; of frames that are not vouched for they
    mean nothing, and None is where it takes the Frame to tell. `lanes_for` gives rows that hold these signals, where there are
    more signals than anyone wants lanes for. `aside` decodes frames of kinds that no layout is learnt of, where it need not ask
    Protocol.decode. `unit_lane` holds the id of the unit, `unit_bytes` an id as it stands there.
    """

    protocol: Protocol
    framing: Framing
    form: RowForm
    windows: tuple[Window, ...]
    guards: tuple[Guard, ...]
    parts: Callable[[Frame, Sequence[Trace], bytes], Sequence[Part] | None]
    frame: Callable[[Sequence[Plan], Sequence[Values], bytes], Frame]
    times: Callable[[npt.NDArray[Any]], npt.NDArray[np.int64]]
    clock: Clock | None = None
    briefs: Callable[[npt.NDArray[Any], Sequence[bytes], Stretches], Sequence[Brief | None]] | None = None
    lanes_for: Callable[[Collection[str]], RowForm] | None = None
    aside: Callable[[bytes, Peer | None], Frame | None] = lambda data, peer: None
    unit_lane: str = ""
    unit_bytes: Callable[[str], bytes] = str.encode

    def reading(self, signals: Collection[str]) -> "Binding":
        """The same protocol with rows for those who read these signals and no others; its frames are decoded, and not built."""
        return self if self.lanes_for is None else replace(self, form=self.lanes_for(signals))

    def head(self, data: bytes) -> bytes:
        """What stands before the parts."""
        return data[: self.framing.parts_from] if self.framing.parts else b""


def order_of(leaf: Leaf) -> tuple[str, str]:
    """The byte order and the form (u, i, f, S) of a value read by a construct leaf."""
    said = getattr(leaf.form, "fmtstr", None)
    if said is None:
        return "<", "S"
    order, letter = said[0], said[-1]
    return order, "f" if letter in "fd" else "i" if letter.islower() else "u"


class Shape:
    """A nested value (dicts and lists of numbers and bytes) in which some scalars are to be filled in."""

    __slots__ = ("_node",)

    def __init__(self, value: Any, places: Iterator[int | None]) -> None:
        """`places` yields for each scalar, depth first, which of the values it is; None: it stays as it is."""
        self._node = _node(value, places)

    def filled(self, values: Values) -> Any:
        """The nested value that says `values`."""
        return _filled(self._node, values)


def scalars(value: Any) -> Iterator[Any]:
    """The scalars of a nested value, depth first."""
    if isinstance(value, Mapping):
        for each in value.values():
            yield from scalars(each)
    elif isinstance(value, list):
        for each in value:
            yield from scalars(each)
    else:
        yield value


def _node(value: Any, places: Iterator[int | None]) -> Any:
    if isinstance(value, Mapping):
        return (dict, tuple((name, _node(each, places)) for name, each in value.items()))
    if isinstance(value, list):
        return (list, tuple(_node(each, places) for each in value))
    place = next(places)
    return (None, value) if place is None else place


def _filled(node: Any, values: Values) -> Any:
    if type(node) is int:
        return values[node]
    kind, inner = node
    if kind is dict:
        return {name: values[each] if type(each) is int else _filled(each, values) for name, each in inner}
    if kind is list:
        return [_filled(each, values) for each in inner]
    return inner
