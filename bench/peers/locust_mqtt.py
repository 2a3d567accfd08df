"""A Locust user that is a unit on MQTT, as locust.contrib.mqtt has it: RATE frames a second, QoS 1, PORT on 127.0.0.1."""

import os

from locust import constant_throughput, task  # type: ignore[import-not-found]
from locust.contrib.mqtt import MqttUser  # type: ignore[import-not-found]

FRAME = os.urandom(150)


class Unit(MqttUser):  # type: ignore[misc]
    """One unit."""

    transport = "tcp"
    host = "127.0.0.1"
    port = int(os.environ["PORT"])
    wait_time = constant_throughput(float(os.environ.get("RATE", "10")))

    @task  # type: ignore[untyped-decorator]
    def say(self) -> None:
        """A frame on its own topic."""
        name = self.client._client_id.decode()
        self.client.publish(f"v1/CLOUDBOXX/{name}/up", FRAME, qos=1)
