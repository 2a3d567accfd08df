"""A payload explained: its frames byte by byte, and what they mean for a vehicle, rule by rule. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gateway.registry.errors import BrandUnknown, ModelUnknown
from gateway.registry.models import chosen_model
from modeldb import Database
from modeldb import load as load_models
from modeldb.explain import Made
from modeldb.explain import explain as explain_rules
from modeldb.model import Translation, VehicleModel
from protocols import load as load_protocols
from protocols.bare import BARE
from protocols.codec import PAYLOAD_LIMIT_BYTES, Frame, Peer, Protocol, ProtocolError
from protocols.explain import Explanation, Field, explain, guess


@dataclass(frozen=True, slots=True)
class Decoded:
    """One frame explained; `made` is which rule of `model` made which property of its state."""

    explanation: Explanation
    model: VehicleModel | None = None
    made: tuple[Made, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it is a frame that may pass."""
        return self.explanation.error is None

    def document(self) -> dict[str, Any]:
        """As `decode --json` and `POST /decode` answer."""
        return self.explanation.document()


def protocol_names() -> list[str]:
    """What can be decoded."""
    return sorted([*load_protocols(), BARE.name])


def explained(payload: bytes, **meant: Any) -> list[dict[str, Any]]:
    """The documents of `decoded`."""
    return [each.document() for each in decoded(payload, **meant)]


def decoded(
    payload: bytes,
    protocol: str | None = None,
    brand: str | None = None,
    model: str | None = None,
    year: int | None = None,
    key: bytes | None = None,
    models: Database | None = None,
) -> list[Decoded]:
    """Every frame of `payload`, or the stretch where none was found, in order.

    `protocol` and `brand` by name; without them the protocol is guessed. `model` is an id or a name (then with `year`, if it is
    not the only one of that name), and gives the vehicle state. `key` is the K_seal that seals are checked with. Raises
    BrandUnknown, ModelUnknown and ModelAmbiguous, ValueError for an unknown protocol or one that the brand does not speak.
    """
    database = load_models() if models is None else models
    speaks = protocol_of(database, protocol, brand) or _guessed(payload)
    vehicle, translation = None, None
    if model is not None:
        vehicle, translation = _model(database, speaks.name, brand, model, year)
    if len(payload) > PAYLOAD_LIMIT_BYTES:
        return [Decoded(_oversized(payload, speaks), vehicle)]
    return [_translated(each, vehicle, translation) for each in _checked(payload, speaks, key)]


def protocol_of(database: Database, name: str | None, brand: str | None) -> Protocol | None:
    """The protocol of that name, or of that brand; None where neither is said. Raises BrandUnknown, ValueError."""
    known = {**load_protocols(), BARE.name: BARE}
    spoken = None
    if brand is not None:
        if brand not in database.brands:
            raise BrandUnknown(f"there is no telematics brand {brand}; known are {', '.join(sorted(database.brands))}")
        spoken = database.brands[brand].protocol
        if name not in (None, spoken, BARE.name):
            raise ValueError(f"units of {brand} speak {spoken}, not {name}")
    name = name or spoken
    if name is None:
        return None
    if name not in known:
        raise ValueError(f"there is no protocol {name}; known are {', '.join(sorted(known))}")
    return known[name]


def _guessed(payload: bytes) -> Protocol:
    try:
        BARE.decode(payload)
    except ProtocolError:
        return guess(payload)
    return BARE


def _model(
    database: Database, protocol: str, brand: str | None, model: str, year: int | None
) -> tuple[VehicleModel, Translation | None]:
    """The model, and its translation behind the brand, or behind the first brand that speaks the protocol and knows it."""
    speaking = [name for name, each in database.brands.items() if each.protocol == protocol]
    refusal: ModelUnknown | None = None
    for name in [brand] if brand else speaking:
        by_id = model if model in database.models else None
        try:
            chosen = chosen_model(database, name, by_id, None if by_id else model, year)
        except ModelUnknown as error:
            refusal = refusal or error
        else:
            return chosen, chosen.units[name]
    raise refusal or ModelUnknown(f"no brand of units speaks {protocol}", ())


def _checked(payload: bytes, protocol: Protocol, key: bytes | None) -> list[Explanation]:
    """With `key`, each frame's seal is held against it, for the unit that the frame names."""
    found = explain(payload, protocol)
    if key is None or not protocol.sealed:
        return found
    return [_seal_checked(each, protocol, key) for each in found]


def _seal_checked(said: Explanation, protocol: Protocol, key: bytes) -> Explanation:
    if said.frame is None or said.frame.unit is None:
        return said
    try:
        protocol.decode(said.data, Peer(said.frame.unit, (key,)))
    except ProtocolError as error:
        return replace(said, error=error.moved(said.offset))
    return said


def _oversized(payload: bytes, protocol: Protocol) -> Explanation:
    expected, found = f"at most {PAYLOAD_LIMIT_BYTES} bytes", f"{len(payload)} bytes"
    error = ProtocolError("oversized", PAYLOAD_LIMIT_BYTES, expected=expected, found=found)
    field = Field("", 0, len(payload), payload, payload, meaning="not read")
    return Explanation(protocol.name, 0, payload, (field,), error=error)


def _translated(said: Explanation, model: VehicleModel | None, translation: Translation | None) -> Decoded:
    if said.error is not None or said.frame is None or not said.frame.reports or translation is None:
        return Decoded(said, model)
    made: dict[str, Made] = {}
    for each in _made(said.frame, translation):
        if each.value is not None or each.key not in made:
            made[each.key] = each
    state = {key: each.value for key, each in made.items() if each.value is not None}
    return Decoded(replace(said, state=state), model, tuple(made.values()))


def _made(frame: Frame, translation: Translation) -> Iterator[Made]:
    """Of the oldest report first, so that the newest has the last word."""
    for report in sorted(frame.reports, key=lambda report: report.captured_at or 0):
        signals: Mapping[str, Any] = report.signals
        yield from explain_rules(translation, signals)
