"""A gateway as the documentation of aiomqtt and aio-pika says: `python -m bench.peers.stock MQTT_PORT AMQP_URL UNITS_FILE`.

It does less than ours: no seal is checked, nothing is remembered, repeats are not noticed, and PUBACK goes out before RabbitMQ
has confirmed, because aiomqtt acknowledges by itself.
"""

import asyncio
import json
import struct
import sys
from pathlib import Path

import aio_pika
import aiomqtt

from bench.ledger import event_id

AT_ONCE = 500
HEAD = struct.Struct("<2xBB8sIIHH")
PLACE = struct.Struct("<QIii")


async def main(port: int, url: str, vehicles: dict[str, str]) -> None:
    """From `v1/+/+/up` to the exchange `events`, each message confirmed, 500 under way."""
    connection = await aio_pika.connect_robust(url)
    channel = await connection.channel()
    exchange = await channel.declare_exchange("events", aio_pika.ExchangeType.TOPIC, durable=True)
    turns, tasks = asyncio.Semaphore(AT_ONCE), set()

    async def publish(topic: str, frame: bytes) -> None:
        try:
            _, brand, unit, _ = topic.split("/")
            kind, flags, _, sequence, seconds, milliseconds, _ = HEAD.unpack_from(frame)
            present, _, latitude, longitude = PLACE.unpack_from(frame, HEAD.size)
            vehicle_id = vehicles[f"{brand}/{unit}"]
            at = seconds + milliseconds / 1000
            state = {
                "position": {"timestamp": at, "value": {"lat": latitude / 1e7, "lon": longitude / 1e7}},
                "driving_enabled": {"timestamp": at, "value": bool(flags & 2)},
            }
            body = {"sequence": sequence, "present": present, "vehicle_state": state, "vehicle_id": vehicle_id, "kind": kind}
            message = aio_pika.Message(
                json.dumps(body).encode(),
                content_type="application/json",
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                message_id=event_id(vehicle_id, frame[2:3] + frame[12:-10]),
            )
            await exchange.publish(message, f"default.VehicleStateRecorded.{vehicle_id}", mandatory=False)
        finally:
            turns.release()

    async with aiomqtt.Client("127.0.0.1", port, identifier="stock-gateway") as client:
        await client.subscribe("v1/+/+/up", qos=1)
        print("ready", flush=True)
        async for message in client.messages:
            await turns.acquire()
            task = asyncio.create_task(publish(str(message.topic), bytes(message.payload)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], json.loads(Path(sys.argv[3]).read_text())))
