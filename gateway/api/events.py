"""The fleet's events as they happen, for whoever has no AMQP."""

from collections import deque
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from gateway.api.access import GatewayHere, Listener, Reader
from gateway.api.schemas import Ticket
from gateway.app import Gateway
from gateway.eventlog import LocalEventLog
from gateway.events import timestamp
from gateway.live import QUEUE_LIMIT, Subscription

RESUMED_LIMIT = 500
"""Events read from the log at a time."""

router = APIRouter(tags=["Events"])


@router.get("/events", summary="Events as they happen", response_class=EventSourceResponse)
async def events(
    gateway: GatewayHere,
    client: Listener,
    type: Annotated[list[str] | None, Query(description="only events of these types")] = None,
    last_event_id: Annotated[
        str | None, Header(max_length=64, description="resume after this event, where the event log is the gateway's own")
    ] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Server-Sent Events: `id` is the event's id, `event` its type, `data` the same document that AMQP carries.

    A reader that falls behind is cut off and resumes with `Last-Event-ID`, which browsers send by themselves.
    """
    with gateway.live.subscribe(client.fleet_id, type) as subscription:
        yield ServerSentEvent(comment="from here on")
        told: deque[str] = deque(maxlen=2 * QUEUE_LIMIT)
        if last_event_id is not None:
            async for event in _missed(gateway, subscription, type, last_event_id):
                told.append(event.id or "")
                yield event
        known = frozenset(told)
        async for happened in subscription:
            if happened.id not in known:
                yield _sent(happened.id, happened.type, happened.json())


@router.post("/events/tickets", summary="A ticket for a browser's EventSource", status_code=201, response_model=Ticket)
async def ticket(request: Request, client: Reader) -> Any:
    """Good for one `GET /events?ticket=` within one minute: EventSource cannot send a token.

    A browser that wants to resume asks for another, and says `last_event_id` in the query.
    """
    issued, expires_at = request.app.state.tickets.issue(client)
    return {"ticket": issued, "expires_at": timestamp(expires_at)}


async def _missed(
    gateway: Gateway, subscription: Subscription, types: list[str] | None, last_event_id: str
) -> AsyncIterator[ServerSentEvent]:
    """What the log holds after `last_event_id`: all of it, up to what the subscription has heard."""
    log = gateway.publisher
    while isinstance(log, LocalEventLog):
        page = await log.since(subscription.fleet_id, last_event_id, RESUMED_LIMIT)
        for event in page:
            if types is None or event.type in types:
                yield _sent(event.event_id, event.type, event.body)
        if not page:
            return
        last_event_id = page[-1].event_id


def _sent(event_id: str, event_type: str, body: bytes) -> ServerSentEvent:
    return ServerSentEvent(raw_data=body.decode(), event=event_type, id=event_id)
