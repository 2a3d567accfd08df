"""Where names that must not be guessed or meet twice come from: the system's randomness, or a seed within `seeded`.

A run of the bench that is to come out the same twice names what is born in it from a seed; nothing else ever does.
"""

import random
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_SYSTEM = random.SystemRandom()
_source: ContextVar[random.Random] = ContextVar("chance", default=_SYSTEM)


def fresh_uuid() -> str:
    """A UUID of version 4 (RFC 9562 section 5.4)."""
    return str(uuid.UUID(int=_source.get().getrandbits(128), version=4))


def fresh_letters(alphabet: str, length: int) -> str:
    """So many letters of an alphabet."""
    return "".join(_source.get().choices(alphabet, k=length))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Whatever is named within, and in tasks that are started within, follows from the seed."""
    token = _source.set(random.Random(f"chance/{seed}"))
    try:
        yield
    finally:
        _source.reset(token)
