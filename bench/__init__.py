"""The test bench: laboratory, load, faults, conformance. It reaches the gateway only over MQTT, REST and AMQP."""
