"""The laboratory's own, by the name that the tests know it by."""

from bench.lab.rabbitmq import SECRET, USER, RabbitMQNode, rabbitmq

__all__ = ["SECRET", "USER", "RabbitMQNode", "rabbitmq"]
