"""Event consumers, self-service: the registry keeps them, RabbitMQ has a user and queues for each."""

import asyncio
import secrets
from collections.abc import Callable, Sequence

import structlog
from sqlalchemy.exc import SQLAlchemyError

from gateway.amqp.accounts import Account, Accounts, AccountsFailed, Address, hashed
from gateway.registry.consumers import EventConsumer, EventConsumers

PASSWORD_SIZE_BYTES = 32
WATCH_S = 5.0
"""How often it is looked whether RabbitMQ was away: much less than it takes to start."""

NO_RABBITMQ = "this gateway has no RabbitMQ (TELELOOP_AMQP_URL): read events from GET /events"

log = structlog.get_logger(__name__)


class ConsumersUnavailable(Exception):
    """Nothing was done. The text is for people."""


def account_of(consumer: EventConsumer) -> Account:
    """What RabbitMQ has to know of an event consumer."""
    return Account(consumer.consumer_id, consumer.fleet_id, consumer.topics, consumer.password_hash)


class Consumers:
    """What can be done with event consumers. `accounts` is None where there is no RabbitMQ.

    One change at a time. The registry is the truth: what it holds is made anew in RabbitMQ after that was away or lost it.
    Passwords are known only to whoever called; here and in RabbitMQ there are salted hashes.
    """

    def __init__(self, known: EventConsumers, accounts: Accounts | None, now_ms: Callable[[], int]) -> None:
        self._known, self._accounts, self._now_ms = known, accounts, now_ms
        self._turn = asyncio.Lock()

    @property
    def address(self) -> Address:
        """Where consumers connect. Raises ConsumersUnavailable."""
        return self._there().address

    async def add(self, fleet_id: str, name: str, topics: Sequence[str]) -> tuple[EventConsumer, str]:
        """Add an event consumer; its password is told here and nowhere else. Events wait for it from now on.

        Raises TooManyConsumers, ConsumersUnavailable.
        """
        accounts = self._there()
        password = secrets.token_urlsafe(PASSWORD_SIZE_BYTES)
        async with self._turn:
            added = await self._known.add(fleet_id, name, topics, hashed(password))
            try:
                await accounts.put(account_of(added))
            except AccountsFailed as error:
                await self._undo(accounts, added)
                raise ConsumersUnavailable(str(error)) from error
        return added, password

    async def rotate(self, fleet_id: str, consumer_id: str) -> tuple[EventConsumer, str]:
        """Give it another password: the older one and the connections made with it end. Queues that it lost stand again.

        Raises Unknown, ConsumersUnavailable.
        """
        password = secrets.token_urlsafe(PASSWORD_SIZE_BYTES)
        async with self._turn:
            before = await self._known.get(fleet_id, consumer_id)
            accounts = self._there()
            rotated = await self._known.put_password(fleet_id, consumer_id, hashed(password), self._now_ms())
            try:
                await accounts.restore([account_of(rotated)])
                await accounts.change_password(account_of(rotated))
            except AccountsFailed as error:
                await self._known.put_password(fleet_id, consumer_id, before.password_hash, before.rotated_at)
                raise ConsumersUnavailable(f"{error}; ask again: whether the older password still works is unknown") from error
        return rotated, password

    async def remove(self, fleet_id: str, consumer_id: str) -> None:
        """Remove its user and its queues with all that waits in them. Raises Unknown, ConsumersUnavailable."""
        async with self._turn:
            consumer = await self._known.get(fleet_id, consumer_id)
            try:
                await self._there().remove(account_of(consumer))
            except AccountsFailed as error:
                raise ConsumersUnavailable(str(error)) from error
            await self._known.remove(consumer_id)

    async def restore(self) -> bool:
        """Make anew what RabbitMQ has lost of all event consumers; False if that cannot be done at this moment."""
        if self._accounts is None:
            return True
        async with self._turn:
            try:
                restored = await self._accounts.restore([account_of(each) for each in await self._known.all()])
            except (AccountsFailed, SQLAlchemyError, OSError) as error:
                log.warning("the event consumers cannot be looked after", error=str(error))
                return False
        if restored:
            log.info("event consumers made anew in RabbitMQ", consumers=restored)
        return True

    async def watch(self) -> None:
        """Restore at once, and whenever RabbitMQ comes back; until cancelled."""
        due = True
        while self._accounts is not None:
            if not self._accounts.ready:
                due = True
            elif due:
                due = not await self.restore()
            await asyncio.sleep(WATCH_S)

    async def close(self) -> None:
        """Let go of RabbitMQ."""
        if self._accounts is not None:
            await self._accounts.close()

    def _there(self) -> Accounts:
        if self._accounts is None:
            raise ConsumersUnavailable(NO_RABBITMQ)
        return self._accounts

    async def _undo(self, accounts: Accounts, added: EventConsumer) -> None:
        try:
            await accounts.remove(account_of(added))
        except AccountsFailed as error:
            log.info("what there is of an event consumer that was not made stays in RabbitMQ", error=str(error))
        await self._known.remove(added.consumer_id)
