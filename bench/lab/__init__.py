"""A laboratory: real servers, each on free ports, in its own folder, and ended by who started it.

    with laboratory(folder, "mosquitto+rabbitmq") as lab:      # or "embedded"
        httpx2.get(lab.url + "/healthz"); lab.amqp_url; lab.units_broker; lab.pids

The parts alone: `mosquitto`, `rabbitmq`, `gateway`, `fleet`. What is not installed is a LabError that says what to install.
"""

from bench.lab.fleet import FleetProcess, fleet, write_units
from bench.lab.gateway import GatewayProcess, gateway
from bench.lab.mosquitto import MosquittoBroker, mosquitto
from bench.lab.process import Server, free_port, listens, wait_until
from bench.lab.programs import LabError, missing, program
from bench.lab.rabbitmq import RabbitMQNode, rabbitmq
from bench.lab.whole import Lab, laboratory, with_mosquitto

__all__ = [
    "FleetProcess",
    "GatewayProcess",
    "Lab",
    "LabError",
    "MosquittoBroker",
    "RabbitMQNode",
    "Server",
    "fleet",
    "free_port",
    "gateway",
    "laboratory",
    "listens",
    "missing",
    "mosquitto",
    "program",
    "rabbitmq",
    "wait_until",
    "with_mosquitto",
    "write_units",
]
