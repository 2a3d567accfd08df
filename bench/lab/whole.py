"""A whole laboratory in a folder of its own: broker, RabbitMQ and gateway, or a gateway with everything embedded."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.lab.gateway import GatewayProcess, gateway
from bench.lab.halves import apart
from bench.lab.mosquitto import MosquittoBroker, mosquitto
from bench.lab.process import free_port
from bench.lab.programs import LabError
from bench.lab.rabbitmq import RabbitMQNode, rabbitmq

PARTS = ("embedded", "mosquitto", "rabbitmq")
GATEWAY_LOGIN = "gateway:secret-of-the-gateway"
BROKER_LINES = (
    "max_inflight_messages 1000",
    "max_queued_messages 0",
    "message_size_limit 65536",
    "set_tcp_nodelay true",
    "use_username_as_clientid true",
)


@dataclass
class Lab:
    """What runs. `mosquitto` is None where the broker is the gateway's own, `rabbitmq` where events stay in its local log."""

    folder: Path
    gateway: GatewayProcess
    mosquitto: MosquittoBroker | None = None
    rabbitmq: RabbitMQNode | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where the gateway's API answers."""
        return self.gateway.url

    @property
    def token(self) -> str:
        """For its API."""
        return self.gateway.token

    @property
    def units_broker(self) -> str:
        """Where units connect."""
        return self.gateway.units_broker

    @property
    def amqp_url(self) -> str | None:
        """Where consumers connect."""
        return self.rabbitmq.url() if self.rabbitmq else None

    @property
    def pids(self) -> dict[str, int]:
        """The process of each part, by name. RabbitMQ's work is done by its child processes."""
        parts = {"gateway": self.gateway, "broker": self.mosquitto}
        known = {name: part.pid for name, part in parts.items() if part is not None}
        return known | ({"rabbitmq": self.rabbitmq.pid} if self.rabbitmq else {})


def parse_parts(said: str) -> frozenset[str]:
    """`mosquitto+rabbitmq`, `embedded`, `embedded+rabbitmq`, `mosquitto`. Raises LabError that names what is known."""
    parts = frozenset(said.split("+"))
    if not parts <= set(PARTS) or {"embedded", "mosquitto"} <= parts:
        raise LabError(f"a laboratory is `mosquitto+rabbitmq`, `embedded+rabbitmq`, `mosquitto` or `embedded`, not {said!r}")
    return parts


def with_mosquitto(folder: Path, stack: ExitStack) -> tuple[MosquittoBroker, dict[str, str]]:
    """A Mosquitto whose logins a gateway keeps, and that gateway's settings."""
    folder.mkdir(parents=True, exist_ok=True)
    logins, rules, pid_file, port = folder / "logins", folder / "rules", folder / "pid", free_port()
    logins.touch(mode=0o600)
    rules.touch(mode=0o600)
    broker = stack.enter_context(
        mosquitto(folder / "broker", port=port, password_file=logins, acl_file=rules, lines=BROKER_LINES, log_type="error")
    )
    pid_file.write_text(str(broker.pid))
    return broker, {
        "TELELOOP_BROKER": "mosquitto",
        "TELELOOP_MQTT_URL": f"mqtt://{GATEWAY_LOGIN}@127.0.0.1:{port}",
        "TELELOOP_MOSQUITTO_PASSWORD_FILE": str(logins),
        "TELELOOP_MOSQUITTO_ACL_FILE": str(rules),
        "TELELOOP_MOSQUITTO_PID_FILE": str(pid_file),
    }


@contextmanager
def laboratory(folder: Path, parts: str = "mosquitto+rabbitmq", environment: Mapping[str, str] | None = None) -> Iterator[Lab]:
    """A laboratory, all of it ended at the end. Raises LabError where a program is missing.

    Where RabbitMQ is in it, that has half of the cores for itself, and this process stays on the other half with all the rest.
    """
    wanted = parse_parts(parts)
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        settings: dict[str, str] = {"TELELOOP_TRUST_BROKER": "true"}
        broker = node = cores = None
        if "rabbitmq" in wanted:
            cores = stack.enter_context(apart())
        if "mosquitto" in wanted:
            broker, more = with_mosquitto(folder / "mosquitto", stack)
            settings |= more
        if "rabbitmq" in wanted:
            node = stack.enter_context(rabbitmq(folder / "rabbitmq", cores=cores))
            settings |= {"TELELOOP_AMQP_URL": node.url(), "TELELOOP_AMQP_MANAGEMENT_URL": node.management_url}
        settings |= dict(environment or {})
        process = stack.enter_context(gateway(folder / "gateway", settings))
        yield Lab(folder, process, broker, node, settings)
