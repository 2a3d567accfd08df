"""Event consumers: a fleet's own queues in RabbitMQ, self-service."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field

from gateway.amqp.topology import ALL_TOPICS
from gateway.api.access import Access, GatewayHere, access
from gateway.api.schemas import Moment, Page, Word
from gateway.app import Gateway
from gateway.consumers import account_of
from gateway.event_types import EVENT_TYPES
from gateway.events import timestamp
from gateway.registry.consumers import EventConsumer

Topic = Literal[(ALL_TOPICS, *EVENT_TYPES)]  # type: ignore[valid-type]
Topics = Annotated[list[Topic], Field(min_length=1, max_length=len(EVENT_TYPES) + 1)]
EventClient = Annotated[Access, Depends(access("event-consumers"))]

router = APIRouter(tags=["Event consumers"])


class ConsumerRequest(BaseModel):
    """An event consumer to add. A topic is an event type, or `All`; each has a queue of its own."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "billing", "topics": ["TripEnded"]}]})

    name: Word = Field("event consumer", description="for people")
    topics: Topics


class ConsumerQueue(BaseModel):
    """A queue, and what comes into it."""

    topic: str = Field(examples=["All"])
    name: str = Field(examples=["consumer.5f2c1d0e9b8a7766.All"])


class Consumer(BaseModel):
    """An event consumer. Its queues are kept for three days without a reader, an event in them for seven."""

    id: str = Field(examples=["5f2c1d0e9b8a7766"])
    fleet_id: str
    name: str
    topics: list[str]
    queues: list[ConsumerQueue]
    created_at: Moment
    credentials_issued_at: Moment


class AmqpCredentials(BaseModel):
    """The login to RabbitMQ (AMQP 0-9-1): it may read the consumer's queues and nothing else. `url` is all of it in one."""

    url: str = Field(examples=["amqp://consumer-5f2c1d0e9b8a7766:secret@rabbitmq.example:5672/%2F"])
    host: str
    port: int
    virtual_host: str = Field(examples=["/"])
    tls: bool
    user_name: str
    password: str


class AdmittedConsumer(Consumer):
    """An event consumer with its credentials, which are shown this once."""

    credentials: AmqpCredentials


@router.post("/event-consumers", summary="Add an event consumer", status_code=201, response_model=AdmittedConsumer)
async def add_consumer(gateway: GatewayHere, client: EventClient, wanted: ConsumerRequest) -> Any:
    """At most five a fleet. Events wait in its queues from this moment on; the answer shows the credentials, once."""
    return _admitted(gateway, *await gateway.consumers.add(client.fleet_id, wanted.name, wanted.topics))


@router.get("/event-consumers", summary="List event consumers", response_model=Page[Consumer])
async def list_consumers(gateway: GatewayHere, client: EventClient) -> Any:
    """All of the fleet, oldest first."""
    known = await gateway.registry.consumers.of_fleet(client.fleet_id)
    return {"items": [_document(consumer) for consumer in known], "next_cursor": None}


@router.get("/event-consumers/{consumer_id}", summary="Show an event consumer", response_model=Consumer)
async def show_consumer(gateway: GatewayHere, client: EventClient, consumer_id: str) -> Any:
    """Without its credentials."""
    return _document(await gateway.registry.consumers.get(client.fleet_id, consumer_id))


@router.post(
    "/event-consumers/{consumer_id}/rotate",
    summary="Issue new credentials for an event consumer",
    response_model=AdmittedConsumer,
)
async def rotate_credentials(gateway: GatewayHere, client: EventClient, consumer_id: str) -> Any:
    """The older password and the connections made with it end at once; nothing that waits is lost. Missing queues are made."""
    return _admitted(gateway, *await gateway.consumers.rotate(client.fleet_id, consumer_id))


@router.delete("/event-consumers/{consumer_id}", summary="Remove an event consumer", status_code=204)
async def remove_consumer(gateway: GatewayHere, client: EventClient, consumer_id: str) -> Response:
    """Its connections end, its queues go with all that waits in them."""
    await gateway.consumers.remove(client.fleet_id, consumer_id)
    return Response(status_code=204)


def _document(consumer: EventConsumer) -> dict[str, Any]:
    queues = account_of(consumer).queues
    return {
        "id": consumer.consumer_id,
        "fleet_id": consumer.fleet_id,
        "name": consumer.name,
        "topics": list(consumer.topics),
        "queues": [{"topic": topic, "name": name} for topic, name in queues.items()],
        "created_at": timestamp(consumer.created_at),
        "credentials_issued_at": timestamp(consumer.rotated_at),
    }


def _admitted(gateway: Gateway, consumer: EventConsumer, password: str) -> dict[str, Any]:
    address, user_name = gateway.consumers.address, account_of(consumer).user_name
    credentials = {
        "url": address.url(user_name, password),
        "host": address.host,
        "port": address.port,
        "virtual_host": address.virtual_host,
        "tls": address.tls,
        "user_name": user_name,
        "password": password,
    }
    return _document(consumer) | {"credentials": credentials}
