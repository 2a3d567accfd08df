"""How the units' logins reach a broker: what every kind of broker can do."""

import re
from collections.abc import Mapping
from typing import Protocol

from protocols.codec import UnitId

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


class BrokerFailed(Exception):
    """The broker does not start, or does not take the logins; the text is for people."""


class BrokerLogins(Protocol):
    """Who may log in at the units' broker.

    A unit's user name is `str(unit)`. It may publish to its own `up` and `presence` and subscribe to its own `down`.
    Each call returns when the broker has taken the change, and raises `BrokerFailed` when it does not.
    """

    @property
    def url(self) -> str:
        """Where and as whom the gateway itself logs in: `mqtt://user:secret@host:port`. Known once started."""

    @property
    def unit_url(self) -> str:
        """Where units connect: `mqtt://host:port`. Known once started."""

    async def start(self) -> None:
        """Make the broker ready; logins of an earlier run stay until `replace_all`."""

    async def put(self, secrets: Mapping[UnitId, str]) -> None:
        """Let these units in with these secrets; a secret known before is replaced. One change, however many units."""

    async def revoke(self, unit: UnitId) -> None:
        """Refuse this unit from now on and end its live session."""

    async def replace_all(self, secrets: Mapping[UnitId, str]) -> None:
        """Let these units in and no others."""

    async def stop(self) -> None:
        """Let go of the broker; an embedded one ends."""


def user_name(unit: UnitId) -> str:
    """The unit's MQTT user name and client id; ValueError for an id that would bend a topic or a broker's file."""
    if not (_ID.match(unit.brand) and _ID.match(unit.telematics_unit_id)):
        raise ValueError(f"{str(unit)!r}: brand and unit id are 1 to 64 of A-Z a-z 0-9 _ -")
    return str(unit)
