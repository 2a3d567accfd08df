"""The broker that `teleloop run` brings along: a real one, as a child process, whichever this machine has."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from gateway.brokers.embedded_mosquitto import EmbeddedMosquitto, find_mosquitto
from gateway.brokers.embedded_nats import EmbeddedNats, find_nats_server
from gateway.brokers.logins import BrokerFailed
from protocols.codec import Reason

EmbeddedBroker = EmbeddedMosquitto | EmbeddedNats


def _uncounted(reason: Reason) -> None:
    """What the broker refused is told to nobody."""


def embedded_broker(
    folder: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 1883,
    kind: Literal["any", "mosquitto", "nats"] = "any",
    on_refused: Callable[[Reason], None] = _uncounted,
) -> EmbeddedBroker:
    """A broker for units on `host:port`, with its files in `folder`; Mosquitto where it is installed, else nats-server.

    If the port is taken, `start` takes a free one: `unit_url` says which. `on_refused` hears what the broker's log tells of
    refusals: `bad_credentials`, `forbidden_topic`, `oversized`.
    Raises BrokerFailed when neither is here.
    """
    if kind != "nats" and (program := find_mosquitto()):
        return EmbeddedMosquitto(program, folder, host, port, on_refused)
    if kind != "mosquitto" and (program := find_nats_server()):
        return EmbeddedNats(program, folder, host, port, on_refused)
    raise BrokerFailed("No MQTT broker here: please install mosquitto, or set TELELOOP_MQTT_URL to one that runs elsewhere.")
