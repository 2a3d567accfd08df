"""How telematics units speak: bytes to frames and back. No sockets, no clocks, no vehicles.

Every module here with a `PROTOCOL` in it is one wire protocol; adding a protocol is adding a file.
"""

import importlib
import pkgutil
from functools import cache

from protocols.codec import Protocol


@cache
def load() -> dict[str, Protocol]:
    """Every wire protocol, by its name."""
    modules = (
        importlib.import_module(f"{__name__}.{found.name}")
        for found in pkgutil.iter_modules(__path__)
        if not found.ispkg and found.name != "cli"
    )
    found = (vars(module).get("PROTOCOL") for module in modules)
    return {protocol.name: protocol for protocol in found if isinstance(protocol, Protocol)}
