"""Where every secret of a unit comes from: HKDF-SHA256 (RFC 5869), from one provisioning key down to one key a unit and purpose.

The brand master binds the brand, so that the same id under two brands shares no key. A generation (u8, from 1) is part of
every unit key: two are valid while a unit moves from one to the next. All keys are 32 bytes.
"""

import base64
from dataclasses import dataclass
from functools import lru_cache

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_SIZE_BYTES = 32
PROVISIONING_SALT = b"teleloop-v1"
COMMAND_SALT = b"vt-cmd-v1"


def _derive(ikm: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_SIZE_BYTES, salt=salt, info=info).derive(ikm)


def _counted(text: str) -> bytes:
    raw = text.encode("ascii")
    if not 0 < len(raw) < 256:
        raise ValueError(f"an id of 1 to 255 ASCII characters is wanted, not {text!r}")
    return bytes([len(raw)]) + raw


def _unit_info(purpose: bytes, generation: int, unit: str) -> bytes:
    if not 1 <= generation <= 255:
        raise ValueError(f"a key generation is 1 to 255, not {generation}")
    return purpose + bytes([generation]) + _counted(unit)


def brand_key(provisioning_key: bytes, brand: str) -> bytes:
    """K_brand: the master of one brand."""
    return _derive(provisioning_key, PROVISIONING_SALT, b"brand" + _counted(brand))


def mqtt_key(brand_master: bytes, generation: int, unit: str) -> bytes:
    """K_mqtt: what the unit's broker password is made of."""
    return _derive(brand_master, PROVISIONING_SALT, _unit_info(b"mqtt", generation, unit))


def seal_key(brand_master: bytes, generation: int, unit: str) -> bytes:
    """K_seal: what a CloudBoxx unit and the gateway seal their frames with."""
    return _derive(brand_master, PROVISIONING_SALT, _unit_info(b"seal", generation, unit))


def command_key(brand_master: bytes, generation: int, unit: str) -> bytes:
    """K_cmd: what commands and results are authenticated with; the generation is the envelope's key id."""
    return _derive(brand_master, COMMAND_SALT, _unit_info(b"cmd", generation, unit))


def password(key: bytes) -> str:
    """A key as a broker password: base64url without padding (RFC 4648 section 5)."""
    return base64.urlsafe_b64encode(key).rstrip(b"=").decode("ascii")


@dataclass(frozen=True, slots=True, repr=False)
class UnitKeys:
    """The three secrets of one unit in one generation. Has no repr: keys do not belong in logs."""

    generation: int
    mqtt: bytes
    seal: bytes
    command: bytes

    @property
    def password(self) -> str:
        """The broker password: `mqtt` in base64url."""
        return password(self.mqtt)


@lru_cache(maxsize=65536)
def unit_keys(brand_master: bytes, generation: int, unit: str) -> UnitKeys:
    """All secrets of one unit in one generation."""
    return UnitKeys(
        generation,
        mqtt_key(brand_master, generation, unit),
        seal_key(brand_master, generation, unit),
        command_key(brand_master, generation, unit),
    )
