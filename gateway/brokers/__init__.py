"""How the units' logins reach a broker: one the gateway starts itself, a Mosquitto beside it, or one that asks over HTTP."""

from gateway.brokers.embedded import EmbeddedBroker, embedded_broker
from gateway.brokers.http import AskedOverHttp
from gateway.brokers.logins import BrokerFailed, BrokerLogins, user_name
from gateway.brokers.mosquitto import Mosquitto
from gateway.brokers.none import Elsewhere

__all__ = [
    "AskedOverHttp",
    "BrokerFailed",
    "BrokerLogins",
    "Elsewhere",
    "EmbeddedBroker",
    "Mosquitto",
    "embedded_broker",
    "user_name",
]
