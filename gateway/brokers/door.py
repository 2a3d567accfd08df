"""What a broker that asks is told: who may log in, and which topics are whose. The same rules as the login files say."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit

from gateway.brokers.logins import user_name
from gateway.memory import Vehicle
from gateway.registry import Registry
from protocols.codec import Reason, UnitId

Direction = Literal["publish", "subscribe"]
VERSION = "v1"
UNIT_CHANNELS: dict[Direction, frozenset[str]] = {"publish": frozenset({"up", "presence"}), "subscribe": frozenset({"down"})}
ANYBODY = frozenset({"+", "*"})
"""One level of any name: in MQTT, and as RabbitMQ translates it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A topic that a user may use, its levels apart."""

    direction: Direction
    levels: tuple[str, ...]


class Door:
    """Answers a broker's questions. `gateway_url` holds the gateway's own login; `on_refused` hears the reason of each refusal.

    A unit connects under its user name as client id: under any other it could end the session of somebody else.
    """

    def __init__(self, registry: Registry, gateway_url: str, on_refused: Callable[[Reason], None]) -> None:
        parts = urlsplit(gateway_url)
        self._registry, self._on_refused = registry, on_refused
        self._own_user, self._own_secret = unquote(parts.username or ""), unquote(parts.password or "")

    async def lets_in(self, user: str, password: str, client_id: str) -> bool:
        """Whether somebody may log in."""
        if self._is_own(user):
            return self._said(_same(password, [self._own_secret]), "bad_credentials")
        vehicle = await self._vehicle(user)
        if isinstance(vehicle, str):
            _same(password, [self._registry.keys(UnitId("?", "?"), 1).password])  # as long as a true comparison takes
            return self._said(False, vehicle)
        known = [keys.password for keys in self._registry.secrets(vehicle)]
        return self._said(_same(password, known) and client_id == user, "bad_credentials")

    async def knows(self, user: str) -> bool:
        """Whether a user that has logged in may still be there."""
        if self._is_own(user):
            return True
        vehicle = await self._vehicle(user)
        return self._said(False, vehicle) if isinstance(vehicle, str) else True

    async def may_use(self, user: str, kind: str, name: str) -> bool:
        """Whether a user may work with an exchange or a queue of RabbitMQ: with those that carry MQTT and are its own."""
        if not await self.knows(user):
            return False
        if self._is_own(user):
            allowed = name == "amq.topic" if kind == "exchange" else name.startswith("mqtt-subscription-teleloop-")
        else:
            queues = (f"mqtt-subscription-{user}qos0", f"mqtt-subscription-{user}qos1")
            allowed = (kind, name) == ("exchange", "amq.topic") or (kind == "queue" and name in queues)
        return self._said(allowed, "forbidden_topic")

    async def may_talk(self, user: str, direction: Direction, levels: Sequence[str]) -> bool:
        """Whether a user may publish to a topic, or subscribe to a filter, whose levels these are."""
        if not await self.knows(user):
            return False
        match levels:
            case (version, brand, unit_id, channel) if version == VERSION:
                allowed = self._may(user, direction, brand, unit_id, channel)
            case _:
                allowed = False
        return self._said(allowed, "forbidden_topic")

    def rules(self, user: str) -> list[Rule]:
        """All that a user may do, for brokers that ask once for everything."""
        if self._is_own(user):
            heard = [Rule("subscribe", (VERSION, "+", "+", channel)) for channel in sorted(UNIT_CHANNELS["publish"])]
            return [*heard, Rule("publish", (VERSION, "+", "+", "down"))]
        own = (VERSION, *user.split("/"))
        return [Rule(way, (*own, channel)) for way, channels in UNIT_CHANNELS.items() for channel in sorted(channels)]

    def _may(self, user: str, direction: Direction, brand: str, unit_id: str, channel: str) -> bool:
        if not self._is_own(user):
            return f"{brand}/{unit_id}" == user and channel in UNIT_CHANNELS[direction]
        if direction == "publish":
            return channel == "down"
        return channel in UNIT_CHANNELS["publish"] and {brand, unit_id} <= ANYBODY

    def _is_own(self, user: str) -> bool:
        return bool(self._own_user) and bool(self._own_secret) and user == self._own_user

    async def _vehicle(self, user: str) -> Vehicle | Reason:
        brand, _, unit_id = user.partition("/")
        unit = UnitId(brand, unit_id)
        try:
            user_name(unit)
        except ValueError:
            return "unknown_unit"
        vehicle, _ = (await self._registry.find([unit])).get(unit, (None, None))
        if vehicle is None:
            return "unknown_unit"
        return "archived" if vehicle.archived else vehicle

    def _said(self, allowed: bool, reason: Reason) -> bool:
        if not allowed:
            self._on_refused(reason)
        return allowed


def _same(shown: str, known: Sequence[str]) -> bool:
    """Whether `shown` is one of the known secrets, in a time that tells nothing of them."""
    return sum(secrets.compare_digest(shown.encode(), each.encode()) for each in known) > 0
