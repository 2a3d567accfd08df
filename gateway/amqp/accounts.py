"""The accounts of event consumers in RabbitMQ: a user each that may read its own queues and do nothing else."""

import base64
import hashlib
import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from yarl import URL

from gateway.amqp.management import Management, ManagementFailed
from gateway.amqp.publisher import AmqpPublisher
from gateway.amqp.topology import TopologyConflict

NOTHING = "^$"
SALT_SIZE_BYTES = 4
"""Fixed by RabbitMQ's hash; the passwords are 256 random bits, which no table holds."""


class AccountsFailed(Exception):
    """RabbitMQ or its management API does not do as asked. The text is for people."""


@dataclass(frozen=True, slots=True)
class Account:
    """What RabbitMQ has to know of an event consumer."""

    consumer_id: str
    fleet_id: str
    topics: tuple[str, ...]
    password_hash: str

    @property
    def user_name(self) -> str:
        """Users belong to the whole of RabbitMQ: the name says what kind of user it is."""
        return f"consumer-{self.consumer_id}"

    @property
    def queues(self) -> dict[str, str]:
        """The queue of each topic."""
        return {topic: f"consumer.{self.consumer_id}.{topic}" for topic in self.topics}

    @property
    def readable(self) -> str:
        """The regular expression of what its user may read."""
        return rf"^consumer\.{re.escape(self.consumer_id)}\."


@dataclass(frozen=True, slots=True)
class Address:
    """Where RabbitMQ is, for those who connect to it."""

    host: str
    port: int
    virtual_host: str
    tls: bool

    def url(self, user_name: str, password: str) -> str:
        """`amqp://user:password@host:port/vhost`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        login = f"{quote(user_name, safe='')}:{quote(password, safe='')}"
        return f"amqp{'s' if self.tls else ''}://{login}@{host}:{self.port}/{quote(self.virtual_host, safe='')}"


def hashed(password: str) -> str:
    """A password as RabbitMQ keeps it: base64 of a salt and the SHA-256 of salt and password (RabbitMQ, "Passwords")."""
    salt = os.urandom(SALT_SIZE_BYTES)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def address_of(amqp_url: str) -> Address:
    """Where the RabbitMQ of an AMQP URL is; without a path it is the virtual host `/`."""
    url = URL(amqp_url)
    tls = url.scheme == "amqps"
    return Address(url.host or "localhost", url.port or (5671 if tls else 5672), url.path[1:].replace("%2F", "/") or "/", tls)


class Accounts:
    """The accounts of all event consumers of one virtual host. Every call raises AccountsFailed."""

    def __init__(self, publisher: AmqpPublisher, management: Management, address: Address) -> None:
        self._publisher, self._management, self.address = publisher, management, address

    @property
    def ready(self) -> bool:
        """Whether a connection to RabbitMQ stands."""
        return self._publisher.ready

    async def close(self) -> None:
        """Let go of the management API."""
        await self._management.close()

    async def put(self, account: Account) -> None:
        """Make an account: its queues stand before its user may log in."""
        await self._declare(account, account.queues)
        try:
            await self._let_in(account)
        except ManagementFailed as error:
            raise AccountsFailed(str(error)) from error

    async def change_password(self, account: Account) -> None:
        """Take the account's new password, and end the connections that were opened with the older."""
        try:
            await self._management.put_user(account.user_name, account.password_hash)
            await self._management.disconnect(account.user_name)
        except ManagementFailed as error:
            raise AccountsFailed(str(error)) from error

    async def remove(self, account: Account) -> None:
        """Remove user and queues, with all that is in them. What is gone already is no error."""
        try:
            await self._management.delete_user(account.user_name)
            for queue in account.queues.values():
                await self._management.delete_queue(self.address.virtual_host, queue)
        except ManagementFailed as error:
            raise AccountsFailed(str(error)) from error

    async def restore(self, accounts: Sequence[Account]) -> int:
        """Make anew whatever RabbitMQ lacks of these accounts; how many lacked something.

        Queues that stand are left alone: to declare one again would count as use and put off its expiry.
        """
        if not accounts:
            return 0
        try:
            vhost = self.address.virtual_host
            queues = frozenset(await self._management.queues(vhost))
            hashes = await self._management.password_hashes()
            allowed = await self._management.permissions(vhost)
            restored = 0
            for account in accounts:
                missing = [topic for topic, queue in account.queues.items() if queue not in queues]
                readable = allowed.get(account.user_name, {}).get("read")
                unknown = hashes.get(account.user_name) != account.password_hash or readable != account.readable
                if missing:
                    await self._declare(account, missing)
                if unknown:
                    await self._let_in(account)
                restored += bool(missing) or unknown
        except ManagementFailed as error:
            raise AccountsFailed(str(error)) from error
        return restored

    async def _declare(self, account: Account, topics: Collection[str]) -> None:
        try:
            for topic in topics:
                await self._publisher.declare_consumer_queue(account.consumer_id, topic, account.fleet_id)
        except (ConnectionError, TopologyConflict) as error:
            raise AccountsFailed(f"RabbitMQ does not make the queue: {error}") from error

    async def _let_in(self, account: Account) -> None:
        await self._management.put_user(account.user_name, account.password_hash)
        vhost = self.address.virtual_host
        await self._management.permit(vhost, account.user_name, configure=NOTHING, write=NOTHING, read=account.readable)
