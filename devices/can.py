"""The vehicle's CAN side: simulated control units say the truth on a bus, by a DBC per model; a unit that reads it sees a car.

`Ecus` send each message in its own cycle, with counter and checksum where the DBC has them. `BusReader` believes a message only
while it is right and fresh: a signal that was not renewed for three cycles is missing, and so is what depends on it.

Needs python-can (LGPL-3.0) and cantools (MIT): the extra `hil`. Times are Unix milliseconds and arguments.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from devices.shown import SHOWN
from devices.vehicle import State, Vehicle
from modeldb.vocabulary import PROPERTIES

CYCLES_TO_STALE = 3
"""Messages that may be missed before what they say counts as missing: what makers usually allow."""

CRC, COUNTER = "@crc8", "@counter"
BOOLEANS = {"TRUE": True, "FALSE": False}
NOT_AVAILABLE = "SNA"
ANY_OF = {"doors_status": ("OPEN", "CLOSED"), "windows_status": ("OPEN", "CLOSED")}
"""Properties that several signals say together: open if one is, closed if all are."""

USUAL_CHANNELS = {"virtual": "teleloop", "socketcan": "can0", "udp_multicast": "239.74.163.2"}
INTERFACES = tuple(USUAL_CHANNELS)


class CanError(Exception):
    """There is no such bus, no DBC for a model, or the extra is not installed; the sentence says which."""


def models() -> list[str]:
    """The models that have a DBC, by their files: `volkswagen/golf-2020`."""
    folder = resources.files("devices") / "dbc"
    found = [f"{maker.name}/{each.name.removesuffix('.dbc')}" for maker in folder.iterdir() for each in _files(maker)]
    return sorted(found)


def _files(maker: Any) -> Iterator[Any]:
    return (each for each in (maker.iterdir() if maker.is_dir() else ()) if each.name.endswith(".dbc"))


def crc8_j1850(data: bytes) -> int:
    """CRC-8/SAE-J1850: polynomial 1D, begins with FF, inverted at the end; of "123456789" it is 4B."""
    crc = 0xFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x1D if crc & 0x80 else crc << 1) & 0xFF
    return crc ^ 0xFF


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal of a message: what it says of a vehicle. `place` is the door or window that it is about, else empty."""

    name: str
    property: str
    place: str
    words: Mapping[int, str]
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a DBC. `codec` is cantools' own."""

    name: str
    id: int
    size: int
    cycle_ms: int
    signals: tuple[Signal, ...]
    counter: str
    counter_span: int
    crc: str
    codec: Any

    @property
    def stale_ms(self) -> int:
        """How old what it says may be."""
        return CYCLES_TO_STALE * self.cycle_ms

    def sealed(self, said: Mapping[str, Any], counter: int) -> bytes:
        """Its bytes, with counter and checksum where it has them."""
        values = dict(said)
        if self.counter:
            values[self.counter] = counter % self.counter_span
        if self.crc:
            values[self.crc] = 0
        data: bytes = self.codec.encode(values, strict=True)
        if self.crc:
            values[self.crc] = self.checksum(data)
            data = self.codec.encode(values, strict=True)
        return data

    def checksum(self, data: bytes) -> int:
        """Over the bytes with the checksum's own 0, and the low byte of the id: it stands in the first byte."""
        return crc8_j1850(b"\0" + data[1:] + bytes([self.id & 0xFF]))


@dataclass(frozen=True, slots=True)
class BusDatabase:
    """The messages of one model's bus. `properties` are those of the vocabulary that it says."""

    model: str
    messages: tuple[Message, ...]

    @property
    def properties(self) -> frozenset[str]:
        """What is said on this bus."""
        return frozenset(signal.property for message in self.messages for signal in message.signals)

    @property
    def by_id(self) -> dict[int, Message]:
        """The messages by their ids."""
        return {message.id: message for message in self.messages}


@cache
def bus_database(model: str) -> BusDatabase:
    """The DBC of a model, by its file (`volkswagen/golf-2020`, also `models/volkswagen/golf-2020.toml`). Raises CanError."""
    name = model.removeprefix("models/").removesuffix(".toml")
    try:
        import cantools
    except ImportError as error:
        raise CanError("CAN needs python-can and cantools: pip install 'teleloop[hil]'") from error
    maker, _, file = name.rpartition("/")
    path = resources.files("devices") / "dbc" / maker / f"{file}.dbc"
    if not path.is_file():
        raise CanError(f"there is no DBC of {name}; there are {', '.join(models())}")
    database: Any = cantools.database.load_string(path.read_text(encoding="utf-8"), "dbc")
    return BusDatabase(name, tuple(_message(each) for each in database.messages))


def _message(said: Any) -> Message:
    signals, counter, crc, span = [], "", "", 0
    for each in said.signals:
        meaning = str(each.dbc.attributes["Property"].value)
        if meaning == COUNTER:
            counter, span = each.name, 1 << each.length
        elif meaning == CRC:
            crc = each.name
        else:
            signals.append(_signal(each, meaning))
    return Message(said.name, said.frame_id, said.length, said.cycle_time, tuple(signals), counter, span, crc, said)


def _signal(said: Any, meaning: str) -> Signal:
    name, _, place = meaning.partition(".")
    if name not in PROPERTIES:
        raise CanError(f"signal {said.name}: {name!r} is no property of the vocabulary")
    words = {} if said.choices is None else {int(raw): str(word) for raw, word in said.choices.items()}
    highest = ((1 << said.length) - 1) * said.scale + said.offset
    return Signal(said.name, name, place, words, float(said.offset), float(highest))


def _truth(vehicle: Vehicle, signal: Signal) -> Any:
    if signal.place:
        is_open = signal.place in (vehicle.doors_open if signal.property == "doors_status" else vehicle.windows_open)
        return ANY_OF[signal.property][0 if is_open else 1]
    value = SHOWN[signal.property](vehicle)
    if signal.words:
        return str(value).upper() if isinstance(value, bool) else value
    return min(max(float(value), signal.low), signal.high)


# The bus ----------------------------------------------------------------------------------------------------------------------


def open_bus(interface: str, channel: str = "") -> Any:
    """A python-can bus: virtual (in this process), socketcan, or udp_multicast in a network of its own. Raises CanError."""
    try:
        import can
    except ImportError as error:
        raise CanError("CAN needs python-can and cantools: pip install 'teleloop[hil]'") from error
    if interface not in INTERFACES:
        raise CanError(f"the interface is {', '.join(INTERFACES)}, not {interface!r}")
    if interface == "udp_multicast" and not in_own_network():
        raise CanError(
            "udp_multicast leaves this machine by its default route: it is used only inside a network namespace "
            "(unshare --net, ip netns exec), and this process is in the machine's own"
        )
    channel = channel or USUAL_CHANNELS[interface]
    make: Any = can.Bus
    try:
        return make(interface=interface, channel=channel)
    except (OSError, can.CanError, ValueError, ImportError) as error:
        why = " (this kernel has no SocketCAN, or there is no such interface)" if interface == "socketcan" else ""
        raise CanError(f"{interface}:{channel} cannot be opened: {error}{why}") from error


def in_own_network(
    namespace: str = "/proc/self/ns/net", machine: str = "/proc/1/ns/net", devices: str = "/proc/self/net/dev"
) -> bool:
    """Whether this process is in another network namespace than the machine; if that is not told, whether it has no network."""
    try:
        return os.readlink(namespace) != os.readlink(machine)
    except OSError:
        pass
    try:
        with open(devices) as file:
            return {line.partition(":")[0].strip() for line in file if ":" in line} == {"lo"}
    except OSError:
        return False


@dataclass
class Ecus:
    """The control units of `vehicle` on `bus`. `silent` names messages that are not sent, `frozen` those that say the same bytes
    for ever, `spoilt` those with a wrong checksum; "*" means all."""

    vehicle: Vehicle
    database: BusDatabase
    bus: Any
    silent: set[str] = field(default_factory=set)
    frozen: set[str] = field(default_factory=set)
    spoilt: set[str] = field(default_factory=set)
    sent: Counter[str] = field(default_factory=Counter)
    _due: dict[str, int] = field(default_factory=dict)
    _last: dict[str, bytes] = field(default_factory=dict)

    def advance(self, now_ms: int) -> None:
        """Send what is due; what was due several times since the last call is sent once, as it is now."""
        import can

        for message in self.database.messages:
            due = self._due.get(message.name)
            if due is not None and now_ms < due:
                continue
            on_time = due is not None and now_ms - due < message.cycle_ms
            self._due[message.name] = (due if due is not None and on_time else now_ms) + message.cycle_ms
            if _named(message, self.silent):
                continue
            data = self._data(message)
            self.bus.send(can.Message(arbitration_id=message.id, data=data, is_extended_id=False))
            self.sent[message.name] += 1

    def next_ms(self, now_ms: int) -> int:
        """When the next message is due."""
        return min((self._due.get(message.name, now_ms) for message in self.database.messages), default=now_ms)

    def silence(self, *messages: str) -> None:
        """Send these no more; none: nothing at all. Raises KeyError for one that there is not."""
        self.silent |= self._known(messages)

    def speak(self) -> None:
        """Everything is well again."""
        for wrong in (self.silent, self.frozen, self.spoilt):
            wrong.clear()

    def freeze(self, *messages: str) -> None:
        """Say the same bytes for ever, counter and all."""
        self.frozen |= self._known(messages)

    def spoil(self, *messages: str) -> None:
        """Send wrong checksums."""
        self.spoilt |= self._known(messages)

    def _known(self, messages: Iterable[str]) -> set[str]:
        named = set(messages) or {"*"}
        if unknown := named - {"*", *(message.name for message in self.database.messages)}:
            raise KeyError(f"no message {', '.join(sorted(unknown))} on this bus")
        return named

    def _data(self, message: Message) -> bytes:
        if _named(message, self.frozen) and message.name in self._last:
            return self._last[message.name]
        said = {signal.name: _truth(self.vehicle, signal) for signal in message.signals}
        data = message.sealed(said, self.sent[message.name])
        if _named(message, self.spoilt):
            data = bytes([data[0] ^ 0x5A]) + data[1:]
        self._last[message.name] = data
        return data


def _named(message: Message, names: set[str]) -> bool:
    return "*" in names or message.name in names


@dataclass(slots=True)
class _Heard:
    at_ms: int
    counter: int | None
    said: dict[str, Any]


@dataclass
class BusReader:
    """A unit's eyes on the bus. `refused` counts messages that were not believed: bad_checksum, bad_length, stuck_counter."""

    database: BusDatabase
    bus: Any
    refused: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    heard: Counter[str] = field(default_factory=Counter)
    _last: dict[int, _Heard] = field(default_factory=dict)

    def drain(self, now_ms: int) -> None:
        """Take in what has arrived."""
        known = self.database.by_id
        while (frame := self.bus.recv(timeout=0)) is not None:
            message = known.get(frame.arbitration_id)
            if message is not None and not frame.is_error_frame and not frame.is_remote_frame:
                self._take(message, bytes(frame.data), now_ms)

    def state(self, now_ms: int) -> State:
        """What the bus says now; what is stale, or not available, is not in it."""
        parts: dict[str, list[Any]] = {}
        state: State = {}
        for message in self.database.messages:
            heard = self._last.get(message.id)
            fresh = heard is not None and now_ms - heard.at_ms <= message.stale_ms
            for signal in message.signals:
                value = heard.said.get(signal.name) if heard is not None and fresh else None
                if signal.place:
                    parts.setdefault(signal.property, []).append(value)
                elif value is not None:
                    state[signal.property] = value
        for name, values in parts.items():
            opened, closed = ANY_OF[name]
            if opened in values:
                state[name] = opened
            elif None not in values:
                state[name] = closed
        return state

    def _take(self, message: Message, data: bytes, now_ms: int) -> None:
        if len(data) != message.size:
            self.refused["bad_length"] += 1
            return
        if message.crc and data[0] != message.checksum(data):
            self.refused["bad_checksum"] += 1
            return
        said = message.codec.decode(data, decode_choices=False)
        counter = int(said[message.counter]) if message.counter else None
        before = self._last.get(message.id)
        if counter is not None and before is not None and before.counter is not None:
            step = (counter - before.counter) % message.counter_span
            if not step:
                self.refused["stuck_counter"] += 1
                return
            self.lost += step - 1
        self.heard[message.name] += 1
        read = {signal.name: _meant(signal, said[signal.name]) for signal in message.signals}
        self._last[message.id] = _Heard(now_ms, counter, read)


def _meant(signal: Signal, value: Any) -> Any:
    """The vocabulary's value; None where the signal says that there is none, or something that has no name."""
    if not signal.words:
        return float(value)
    word = signal.words.get(int(value), NOT_AVAILABLE)
    return None if word == NOT_AVAILABLE else BOOLEANS.get(word, word)


class CanSenses:
    """What a unit on the bus senses: of what the bus says, only that; the rest (its receiver, its own inputs) as ever.

    Set `read` as the `read` of a firmware's `devices.senses.Senses`. `ecus` are asked for what is due first, where they live in
    the same process.
    """

    def __init__(self, vehicle: Any, reader: BusReader, now_ms: Callable[[], int], ecus: Ecus | None = None) -> None:
        self._vehicle, self.reader, self._now_ms, self.ecus = vehicle, reader, now_ms, ecus
        self._on_bus = reader.database.properties

    def read(self) -> State:
        """The state as the unit gets it."""
        now_ms = self._now_ms()
        if self.ecus is not None:
            self.ecus.advance(now_ms)
        self.reader.drain(now_ms)
        own = {key: value for key, value in self._vehicle.state().items() if key not in self._on_bus}
        heard = self.reader.state(now_ms)
        return own | {key: heard[key] for key in self._vehicle.properties if key in heard}
