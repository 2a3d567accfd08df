"""Events to RabbitMQ, AMQP 0-9-1. Nothing outside this package knows that protocol."""

from gateway.amqp.publisher import AmqpPublisher
from gateway.amqp.topology import EventLog, TopologyConflict

__all__ = ["AmqpPublisher", "EventLog", "TopologyConflict"]
