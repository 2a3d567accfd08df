"""The fleet's events as they happen, for whoever has no AMQP."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent

from gateway.api.access import GatewayHere, Reader
from gateway.events import Event

router = APIRouter(tags=["Events"])


@router.get("/events", summary="Events as they happen", response_class=EventSourceResponse)
async def events(
    gateway: GatewayHere,
    client: Reader,
    type: Annotated[list[str] | None, Query(description="only events of these types")] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Server-Sent Events: `id` is the event's id, `event` its type, `data` the same document that AMQP carries."""
    with gateway.live.subscribe(client.fleet_id, type) as subscription:
        yield ServerSentEvent(comment="from here on")
        async for event in subscription:
            yield _sent(event)


def _sent(event: Event) -> ServerSentEvent:
    return ServerSentEvent(raw_data=event.json().decode(), event=event.type, id=event.id)
