"""A broker whose logins are managed elsewhere, or which asks the gateway over HTTP."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from protocols.codec import UnitId


class Elsewhere:
    """Nothing to do: the broker knows its users itself. `url` is the gateway's own login."""

    def __init__(self, url: str) -> None:
        self._url = url

    @property
    def url(self) -> str:
        """See `BrokerLogins.url`."""
        return self._url

    @property
    def unit_url(self) -> str:
        """See `BrokerLogins.unit_url`."""
        parts = urlsplit(self._url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

    async def start(self) -> None:
        """Nothing to start."""

    async def put(self, secrets: Mapping[UnitId, str]) -> None:
        """The broker learns of them elsewhere."""

    async def revoke(self, unit: UnitId) -> None:
        """The broker learns of it elsewhere; the gateway itself refuses the unit's frames."""

    async def replace_all(self, secrets: Mapping[UnitId, str]) -> None:
        """The broker learns of them elsewhere."""

    async def stop(self) -> None:
        """Nothing to stop."""
