"""A brand of telematics units: how its units are named, what they speak, and which raw signals they can say."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from modeldb.document import ModelError, convert
from modeldb.signals import Signal, SignalTable, read_table
from modeldb.vocabulary import COMMANDS

IdCheck = Literal["none", "luhn", "vin"]

VIN_LENGTH = 17

_VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
_VIN_VALUES = dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ0123456789", map(int, "123456781234579234567890123456789"), strict=True))
_VIN_CHECK_AT = 8


class BrandFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands in `brands/<BRAND>.toml`. `like` names the brand whose units this one sells under its own name: what the file
    does not say is as with that one. A brand is sealed only where its file says so.

    A key of `signals` may stand for several: `doors.{left|right}` for both, `io_{n}` for every number. `opaque` are patterns
    of what units say besides and no rule can read: texts, lists, the bytes of others.
    """

    kind: Literal["AFTERMARKET", "OEM"]
    protocol: str = ""
    like: str | None = None
    id_pattern: str = ""
    id_form: str = ""
    id_check: IdCheck | None = None
    credential: Literal["password", "identity"] | None = None
    heartbeat_s: int = 900
    sealed: bool | None = None
    answers: bool | None = None
    commands: tuple[str, ...] = ()
    signals: dict[str, Any] = {}
    opaque: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Brand:
    """A telematics brand.

    `protocol` names the wire protocol. `id_pattern` is what a unit id matches in full, `id_form` the same in words. `sealed`:
    its frames prove by themselves who said them. `answers`: where the protocol answers frame by frame, valid reports are
    answered too. `credential` is what a unit logs in with: a password, or its id alone.
    """

    name: str
    kind: Literal["AFTERMARKET", "OEM"]
    protocol: str
    id_pattern: str
    id_form: str
    id_check: IdCheck
    credential: Literal["password", "identity"]
    heartbeat_s: int
    sealed: bool
    commands: tuple[str, ...]
    table: SignalTable
    like: str | None = None
    answers: bool = True

    @property
    def signals(self) -> Mapping[str, Signal]:
        """The raw signals by name, without those that are told apart by a number."""
        return self.table.known

    def check_unit_id(self, text: str) -> list[str]:
        """Warnings about a telematics_unit_id. Raises ValueError, with a sentence for people, if it cannot be one."""
        if not re.fullmatch(self.id_pattern, text, re.ASCII):
            raise ValueError(f"a unit id of {self.name} is {self.id_form or self.id_pattern}")
        if self.id_check == "luhn" and not luhn_holds(text):
            raise ValueError(f"the check digit of {text} is wrong (Luhn)")
        if self.id_check == "vin" and len(text) == VIN_LENGTH and not vin_check_digit_holds(text):
            return [f"the check digit of {text} does not hold (ISO 3779, used in North America and China)"]
        return []


def luhn_holds(digits: str) -> bool:
    """Whether the last digit is the Luhn check digit (ISO/IEC 7812-1) of those before it."""
    total = 0
    for at, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (1 + at % 2)
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0


def vin_check_digit_holds(vin: str) -> bool:
    """Whether position 9 of a VIN is its check digit (49 CFR 565.15, GB 16735)."""
    if len(vin) != VIN_LENGTH or any(letter not in _VIN_VALUES for letter in vin):
        return False
    total = sum(weight * _VIN_VALUES[letter] for weight, letter in zip(_VIN_WEIGHTS, vin, strict=True))
    return vin[_VIN_CHECK_AT] == "0123456789X"[total % 11]


def make_brand(document: Mapping[str, Any], name: str, file: str, others: Mapping[str, Brand]) -> Brand:
    """The brand that the document `file` describes, named as the file is. It may be like one of `others`. Raises ModelError."""
    said = convert(document, BrandFile, file)
    if not re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
        raise ModelError(file, "", "a brand file is named as the brand is: upper case, digits, underscores")
    model = None
    if said.like is not None:
        if said.like not in others or others[said.like].like is not None:
            raise ModelError(file, "like", f"no brand of its own: {said.like!r}")
        if said.signals or said.opaque:
            raise ModelError(file, "signals", f"are those of {said.like}")
        model = others[said.like]
        if said.sealed and not model.sealed:
            raise ModelError(file, "sealed", f"the units of {said.like} seal nothing")
    brand = Brand(
        name,
        said.kind,
        said.protocol or (model.protocol if model else ""),
        said.id_pattern or (model.id_pattern if model else ""),
        said.id_form or (model.id_form if model and not said.id_pattern else ""),
        said.id_check or (model.id_check if model and not said.id_pattern else "none"),
        said.credential or (model.credential if model else "password"),
        said.heartbeat_s,
        _first(said.sealed, model.sealed if model else None, False),
        said.commands or (model.commands if model else ()),
        model.table if model else read_table(said.signals, file, said.opaque),
        said.like,
        _first(said.answers, model.answers if model else None, True),
    )
    _check(brand, file)
    return brand


def _first(said: bool | None, inherited: bool | None, otherwise: bool) -> bool:
    return next((each for each in (said, inherited) if each is not None), otherwise)


def _check(brand: Brand, file: str) -> None:
    if not brand.protocol:
        raise ModelError(file, "protocol", "missing")
    if not brand.signals:
        raise ModelError(file, "signals", "missing")
    if brand.heartbeat_s <= 0:
        raise ModelError(file, "heartbeat_s", "must be more than 0")
    try:
        if not brand.id_pattern or re.fullmatch(brand.id_pattern, ""):
            raise ModelError(file, "id_pattern", "must ask for something")
    except (re.error, RecursionError, OverflowError) as error:
        raise ModelError(file, "id_pattern", str(error)) from error
    for command in brand.commands:
        if command not in COMMANDS:
            raise ModelError(file, "commands", f"unknown command {command!r}")
