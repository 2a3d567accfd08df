"""A broker that asks the gateway over HTTP who may log in (`/broker/auth/...`): RabbitMQ, EMQX. Nothing is written for it."""

from typing import Protocol
from urllib.parse import quote, unquote, urlsplit

import httpx2

from gateway.amqp.management import Management, ManagementFailed
from gateway.brokers.logins import BrokerFailed, user_name
from gateway.brokers.none import Elsewhere
from protocols.codec import UnitId

EMQX_API = "/api/v5"
ANSWER_S = 5.0


class Sessions(Protocol):
    """The sessions of a broker."""

    async def end(self, user: str) -> None:
        """End the session of a user, if it has one. Raises BrokerFailed."""

    async def close(self) -> None:
        """Let go of the broker."""


class RabbitMQSessions:
    """The sessions of a RabbitMQ, by its management API (`http://user:password@host:15672`)."""

    def __init__(self, url: str) -> None:
        self._management = Management(url)

    async def end(self, user: str) -> None:
        """See `Sessions.end`."""
        try:
            await self._management.disconnect(user)
        except ManagementFailed as error:
            raise BrokerFailed(str(error)) from error

    async def close(self) -> None:
        """See `Sessions.close`."""
        await self._management.close()


class EmqxSessions:
    """The sessions of an EMQX, by its REST API (`http://key:secret@host:18083/api/v5`; EMQX 5, "REST API", clients)."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
        login = (unquote(parts.username or ""), unquote(parts.password or ""))
        self._http = httpx2.AsyncClient(base_url=self._address, auth=login, timeout=ANSWER_S, trust_env=False)

    async def end(self, user: str) -> None:
        """See `Sessions.end`: a unit's client id is its user name."""
        try:
            answer = await self._http.delete(f"/clients/{quote(user, safe='')}")
        except httpx2.HTTPError as error:
            raise BrokerFailed(f"EMQX's API at {self._address} cannot be reached ({error})") from error
        if not answer.is_success and answer.status_code != 404:
            raise BrokerFailed(f"EMQX's API at {self._address} answered {answer.status_code}")

    async def close(self) -> None:
        """See `Sessions.close`."""
        await self._http.aclose()


def sessions_of(management_url: str) -> Sessions:
    """The sessions of the broker whose management API is at `management_url`; EMQX's ends in `/api/v5`. Raises ValueError."""
    return (
        EmqxSessions(management_url)
        if urlsplit(management_url).path.rstrip("/").endswith(EMQX_API)
        else RabbitMQSessions(management_url)
    )


class AskedOverHttp(Elsewhere):
    """Logins need not reach the broker: it asks. Without `sessions` a revoked unit stays connected until it connects anew.

    The gateway itself refuses the frames of a revoked unit from the first moment, whatever the broker does.
    """

    def __init__(self, url: str, sessions: Sessions | None = None) -> None:
        super().__init__(url)
        self._sessions = sessions

    async def revoke(self, unit: UnitId) -> None:
        """See `BrokerLogins.revoke`."""
        if self._sessions is not None:
            await self._sessions.end(user_name(unit))

    async def stop(self) -> None:
        """See `BrokerLogins.stop`."""
        if self._sessions is not None:
            await self._sessions.close()
