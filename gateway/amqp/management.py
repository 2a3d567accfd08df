"""RabbitMQ's management HTTP API (plugin rabbitmq_management, 3.10 and later): users, permissions, queues, connections."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, unquote, urlsplit

import httpx2

ANSWER_S = 5.0
PORT, TLS_PORT = 15672, 15671
HASHING = "rabbit_password_hashing_sha256"


class ManagementFailed(Exception):
    """The management API is away, or refuses. The text is for people and names no secret."""


def default_url(amqp_url: str) -> str:
    """Where the management API of the RabbitMQ at `amqp_url` is, unless somebody moved it: same host and login, its own port."""
    parts = urlsplit(amqp_url)
    login, _, _ = parts.netloc.rpartition("@")
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    scheme, port = ("https", TLS_PORT) if parts.scheme == "amqps" else ("http", PORT)
    return f"{scheme}://{login + '@' if login else ''}{host}:{port}"


class Management:
    """The API at `url` (`http://user:password@host:15672`), whose user has the tag `administrator`.

    Every call raises ManagementFailed. Raises ValueError for a URL of another form, which it does not quote.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the address of RabbitMQ's management API must read http://user:password@host:15672, or https://")
        self.address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
        login = (unquote(parts.username or "guest"), unquote(parts.password or "guest"))
        # A proxy of the environment leads outside; RabbitMQ is inside.
        self._http = httpx2.AsyncClient(base_url=f"{self.address}/api", auth=login, timeout=ANSWER_S, trust_env=False)

    async def close(self) -> None:
        """Let go of its connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def password_hashes(self) -> dict[str, str]:
        """The password hash of every user."""
        return {user["name"]: user.get("password_hash", "") for user in await self._call("GET", "/users")}

    async def put_user(self, name: str, password_hash: str) -> None:
        """Make a user without tags, or give it another password. The hash is salted SHA-256, see `accounts.hashed`."""
        body = {"password_hash": password_hash, "hashing_algorithm": HASHING, "tags": ""}
        await self._call("PUT", f"/users/{_quoted(name)}", body)

    async def delete_user(self, name: str) -> None:
        """Delete a user, which ends its connections; that there is none is no error."""
        await self._call("DELETE", f"/users/{_quoted(name)}", absent_is_fine=True)

    async def permissions(self, vhost: str) -> dict[str, Mapping[str, str]]:
        """What each user may configure, write and read in a virtual host, as regular expressions."""
        return {each["user"]: each for each in await self._call("GET", f"/vhosts/{_quoted(vhost)}/permissions")}

    async def permit(self, vhost: str, name: str, *, configure: str, write: str, read: str) -> None:
        """Say what a user may do in a virtual host."""
        body = {"configure": configure, "write": write, "read": read}
        await self._call("PUT", f"/permissions/{_quoted(vhost)}/{_quoted(name)}", body)

    async def queues(self, vhost: str) -> list[str]:
        """The names of all queues of a virtual host."""
        path = f"/queues/{_quoted(vhost)}?columns=name&disable_stats=true&enable_queue_totals=true"
        return [queue["name"] for queue in await self._call("GET", path)]

    async def delete_queue(self, vhost: str, name: str) -> None:
        """Delete a queue with all that is in it; that there is none is no error."""
        await self._call("DELETE", f"/queues/{_quoted(vhost)}/{_quoted(name)}", absent_is_fine=True)

    async def disconnect(self, name: str) -> None:
        """End every connection of a user, whichever protocol it speaks."""
        await self._call("DELETE", f"/connections/username/{_quoted(name)}", absent_is_fine=True)

    async def _call(self, method: str, path: str, body: Any = None, *, absent_is_fine: bool = False) -> Any:
        try:
            answer = await self._http.request(method, path, json=body)
        except httpx2.HTTPError as error:
            raise ManagementFailed(f"RabbitMQ's management API at {self.address} cannot be reached ({error})") from error
        if answer.status_code == 404 and absent_is_fine:
            return None
        if answer.status_code in (401, 403):
            raise ManagementFailed(f"RabbitMQ's management API at {self.address} wants a user with the tag administrator")
        if not answer.is_success:
            raise ManagementFailed(f"RabbitMQ's management API at {self.address} answered {answer.status_code} to {method}")
        try:
            return answer.json() if answer.content else None
        except ValueError as error:
            raise ManagementFailed(f"what answers at {self.address} is no RabbitMQ management API") from error


def _quoted(name: str) -> str:
    return quote(name, safe="")
