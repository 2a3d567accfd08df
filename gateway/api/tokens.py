"""Access tokens: signed, so that nobody else makes them (JWT, RFC 7519, HS256), and short-lived."""

from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from gateway.registry.clients import Client
from protocols.keys import KEY_SIZE_BYTES, PROVISIONING_SALT

LIFETIME_S = 900
"""How long a token is good for (doc)."""

ALGORITHM = "HS256"
KEPT = 1_000
"""Tokens whose signature is not looked at again."""

PURPOSE = b"oauth2 access tokens"


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token says. `rotated_at` names the client's secret that it was asked for with."""

    client_id: str
    scopes: frozenset[str]
    rotated_at: int


class Tokens:
    """Makes and reads tokens. Their key comes from the provisioning key, so that a token outlives a restart."""

    def __init__(self, provisioning_key: bytes, now_ms: Callable[[], int]) -> None:
        hkdf = HKDF(algorithm=SHA256(), length=KEY_SIZE_BYTES, salt=PROVISIONING_SALT, info=PURPOSE)
        self._key, self._now_ms = OctKey.import_key(hkdf.derive(provisioning_key)), now_ms
        self._known: dict[str, tuple[Grant, int]] = {}

    def issue(self, client: Client, scopes: frozenset[str]) -> str:
        """A token for `client` with these scopes, good for LIFETIME_S."""
        now_s = self._now_ms() // 1000
        claims = {
            "sub": client.client_id,
            "scope": " ".join(sorted(scopes)),
            "iat": now_s,
            "exp": now_s + LIFETIME_S,
            "rotated_at": client.rotated_at,
        }
        return jwt.encode({"alg": ALGORITHM, "typ": "at+jwt"}, claims, self._key, algorithms=[ALGORITHM])

    def read(self, token: str) -> Grant | None:
        """What a token of ours says; None if it is not ours, or no longer good."""
        known = self._known.get(token)
        if known is None:
            known = self._read(token)
            if known is None:
                return None
            if len(self._known) >= KEPT:
                self._known.clear()
            self._known[token] = known
        grant, expires_s = known
        if expires_s * 1000 > self._now_ms():
            return grant
        del self._known[token]
        return None

    def _read(self, token: str) -> tuple[Grant, int] | None:
        """What it says and until when (Unix s), whether or not that is over."""
        try:
            said = jwt.decode(token, self._key, algorithms=[ALGORITHM]).claims
            return Grant(said["sub"], frozenset(said["scope"].split()), said["rotated_at"]), int(said["exp"])
        except (JoseError, ValueError, KeyError, TypeError, AttributeError):
            return None
