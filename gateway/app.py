"""A gateway put together: store, registry, broker logins, line, publisher, service - opened in order, closed in reverse."""

import asyncio
import os
import secrets
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import structlog
from sqlalchemy.exc import SQLAlchemyError

import modeldb
from gateway.amqp import AmqpPublisher
from gateway.amqp.accounts import Accounts, address_of
from gateway.amqp.history import StreamHistory
from gateway.amqp.management import Management, default_url
from gateway.brokers import AskedOverHttp, BrokerLogins, Elsewhere, Mosquitto, embedded_broker
from gateway.brokers.door import Door
from gateway.brokers.http import sessions_of
from gateway.commands import Commands, Outcome
from gateway.consumers import Consumers
from gateway.eventlog import LocalEventLog
from gateway.history import History
from gateway.housekeeping import Housekeeping
from gateway.lines import Lines
from gateway.live import Live
from gateway.memory import Vehicle
from gateway.metrics import Metrics
from gateway.mqtt import Acknowledge, Line
from gateway.publisher import Publisher
from gateway.registry import Registry
from gateway.registry.clients import EVERY_SCOPE, Client
from gateway.registry.fleets import DEFAULT_FLEET
from gateway.relay import Relay
from gateway.service import Service, wall_clock_ms
from gateway.settings import Settings
from gateway.store import Store
from gateway.tcp import Ears, TcpListener
from protocols import load as load_protocols
from protocols.codec import UnitId
from protocols.keys import KEY_SIZE_BYTES

FIRST_CLIENT = "first admin"
LINE_WAIT_S = 10.0
FLOWS_REMEMBERED_MS = 10 * 60 * 1000

log = structlog.get_logger(__name__)


def owners_secret(path: Path, size_bytes: int = KEY_SIZE_BYTES) -> bytes:
    """The secret at `path`, made at first use and readable by its owner alone. Raises OSError, ValueError."""
    try:
        secret = bytes.fromhex(path.read_text("ascii"))
    except FileNotFoundError:
        secret = secrets.token_bytes(size_bytes)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(secret.hex() + "\n")
    if len(secret) != size_bytes:
        raise ValueError(f"{path} does not hold {size_bytes} bytes in hex")
    return secret


class Gateway:
    """One gateway. `open`, then `api` may serve it; `close` finishes what is confirmed and leaves the rest to the units."""

    def __init__(self, settings: Settings, now_ms: Callable[[], int] = wall_clock_ms) -> None:
        self.settings, self.now_ms = settings, now_ms
        self.models = modeldb.load()
        self.live, self.metrics = Live(), Metrics()
        self.store: Store
        self.registry: Registry
        self.first_client: tuple[Client, str] | None = None
        self.publisher: Publisher
        self.history: History | None
        self.consumers: Consumers
        self.logins: BrokerLogins
        self.door: Door
        self.broker_auth_secret: str
        self.line: Line
        self.listeners: list[TcpListener] = []
        self.service: Service
        self._commands: Commands
        self._stack = AsyncExitStack()

    async def open(self) -> None:
        """Open the store, start the broker if it is ours, connect. Raises OSError, ValueError, StoreDamaged, TopologyConflict."""
        self.settings.prepare()
        key = owners_secret(self.settings.provisioning_key_path)
        self.store = Store(self.settings.store_url)
        await self.store.open()
        self._stack.push_async_callback(self.store.close)
        self.registry = Registry(
            self.store,
            self.models,
            key,
            self.now_ms,
            trust_broker=self.settings.trust_broker,
            trust_tcp=self.settings.tcp_addresses if self.settings.trust_tcp else (),
        )
        await self.registry.fleets.ensure()
        self.first_client = await self.registry.clients.first(DEFAULT_FLEET, FIRST_CLIENT, EVERY_SCOPE)
        self.publisher = self._publisher()
        self.history = self._history()
        await self.publisher.start()
        self._stack.push_async_callback(self.publisher.stop)
        self.consumers = Consumers(self.registry.consumers, self._accounts(), self.now_ms)
        self._stack.push_async_callback(self.consumers.close)
        self.logins = self._broker_logins()
        await self.logins.start()
        self._stack.push_async_callback(self.logins.stop)
        self.door = Door(self.registry, self.logins.url, self.metrics.refuse)
        self.broker_auth_secret = self.settings.broker_auth_secret or owners_secret(self.settings.broker_auth_secret_path).hex()
        await self.logins.replace_all(await self.registry.logins())
        await self._serve()

    async def _serve(self) -> None:
        relay = Relay(self.registry.outbox, self.publisher, self.live, self.metrics)
        self.service = Service(self.registry, relay, self.publisher, self.live, self.metrics, self.now_ms)
        self.line = Line(self.logins.url, self._arrived_by_mqtt, self.service.presence)
        self.listeners = [self._listener(protocol) for protocol in self.settings.tcp_addresses]
        lines = Lines(*self.listeners, self.line)
        self._commands = Commands(self.registry, lines, self.now_ms, self._can_answer)
        self._commands.remember_flows(await self.registry.recent_flows(self.now_ms() - FLOWS_REMEMBERED_MS))
        self.service.attach(lines, self._commands, lambda: self.line.connected)
        for work in (self.service.run(), relay.run(), Housekeeping(self.registry).run(), self.consumers.watch()):
            task = asyncio.create_task(work)
            self._stack.push_async_callback(_ended, task)
        # A broker that asks has nobody to ask before the API serves.
        await self.line.open(0 if self.settings.broker == "http" else LINE_WAIT_S)
        self._stack.push_async_callback(self.line.close)
        for listener, (host, port) in zip(self.listeners, self.settings.tcp_addresses.values(), strict=True):
            await listener.open(host, port)
            self._stack.push_async_callback(listener.close)
        self._stack.callback(self.live.close)

    def _listener(self, protocol: str) -> TcpListener:
        brands = [brand.name for brand in self.models.brands.values() if brand.protocol == protocol]
        ears = Ears(self.service.arrived, self.service.presence, self.metrics.refuse, self.registry.find)
        return TcpListener(load_protocols()[protocol], brands, ears, trusted=self.settings.trust_tcp)

    def _arrived_by_mqtt(self, unit: UnitId, payload: bytes, acknowledge: Acknowledge) -> None:
        """A unit without a seal may be known for the sake of TCP alone: a broker that is not trusted cannot speak for it."""
        brand = self.models.brands.get(unit.brand)
        if brand is not None and not brand.sealed and not self.settings.trust_broker:
            self.metrics.refuse("forbidden_topic")
            acknowledge()
        else:
            self.service.arrived(unit, payload, acknowledge)

    def _publisher(self) -> Publisher:
        if self.settings.amqp_url:
            return AmqpPublisher(self.settings.amqp_url, self.settings.event_log)
        return LocalEventLog(self.store)

    def _history(self) -> History | None:
        """Where events are that a reader has missed; None: RabbitMQ keeps only those that nobody wanted."""
        if isinstance(self.publisher, LocalEventLog):
            return self.publisher
        if self.settings.amqp_url and self.settings.event_log == "all":
            return StreamHistory(self.settings.amqp_url)
        return None

    def _accounts(self) -> Accounts | None:
        url = self.settings.amqp_url
        if url is None or not isinstance(self.publisher, AmqpPublisher):
            return None
        return Accounts(self.publisher, Management(self.settings.amqp_management_url or default_url(url)), address_of(url))

    def _broker_logins(self) -> BrokerLogins:
        settings = self.settings
        if settings.broker == "embedded":
            return embedded_broker(settings.data / "broker", port=settings.mqtt_port, on_refused=self.metrics.refuse)
        url = settings.mqtt_url or ""
        password_file, acl_file = settings.mosquitto_password_file, settings.mosquitto_acl_file
        if settings.broker == "mosquitto" and password_file and acl_file and settings.mosquitto_pid_file:
            return Mosquitto(url, password_file, acl_file, settings.mosquitto_pid_file)
        if settings.broker == "http":
            management_url = settings.broker_management_url
            return AskedOverHttp(url, sessions_of(management_url) if management_url else None)
        return Elsewhere(url)

    async def close(self) -> None:
        """Close everything that was opened, in reverse order."""
        await self._stack.aclose()

    async def ready(self) -> dict[str, bool]:
        """Each dependency by its name, and whether it can be worked with."""
        return {
            "store": self.service.storing and await self._store_answers(),
            "units_broker": self.line.connected,
            "events": self.publisher.ready and self.service.publishing,
        }

    async def _store_answers(self) -> bool:
        try:
            await self.registry.fleets.all()
        except (SQLAlchemyError, OSError):
            return False
        return True

    def _can_answer(self) -> bool:
        return self.publisher.ready and self.service.publishing and self.service.storing

    async def command(
        self,
        vehicle: Vehicle,
        name: str,
        *,
        flow_id: str,
        timeout_s: float,
        idempotency_key: str | None = None,
        client: str = "",
    ) -> Outcome:
        """Carry out a command, and count how it ended."""
        outcome = await self._commands.carry_out(
            vehicle, name, flow_id=flow_id, timeout_s=timeout_s, idempotency_key=idempotency_key, client=client
        )
        self.metrics.commands.labels(str(outcome.status)).inc()
        return outcome

    async def attached(self, unit: UnitId, password: str) -> None:
        """Let a unit log in at the broker."""
        await self.logins.put({unit: password})

    async def detached(self, unit: UnitId) -> None:
        """Let a unit log in no more, and end its session."""
        self.service.reader.forget(unit)
        await self.logins.revoke(unit)
        for listener in self.listeners:
            listener.end(unit)


async def _ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
