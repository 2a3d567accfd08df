"""The fleet's events as they happen, for whoever has no AMQP."""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Header, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from gateway.api.access import GatewayHere, Listener, Reader
from gateway.api.schemas import Ticket
from gateway.events import timestamp
from gateway.history import HistoryFailed
from gateway.live import QUEUE_LIMIT

ID_LIMIT = 64

log = structlog.get_logger(__name__)
router = APIRouter(tags=["Events"])


@router.get("/events", summary="Events as they happen", response_class=EventSourceResponse)
async def events(
    gateway: GatewayHere,
    client: Listener,
    type: Annotated[list[str] | None, Query(description="only events of these types")] = None,
    last_event_id: Annotated[
        str | None, Header(max_length=ID_LIMIT, description="resume after this event, where the event log holds all events")
    ] = None,
    after: Annotated[
        str | None, Query(alias="last_event_id", max_length=ID_LIMIT, description="the same, for a browser with a new ticket")
    ] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Server-Sent Events: `id` is the event's id, `event` its type, `data` the same document that AMQP carries.

    A reader that falls behind is cut off and resumes with `Last-Event-ID`, which browsers send by themselves. The log holds all
    events where there is no RabbitMQ, and where `TELELOOP_EVENT_LOG=all`; otherwise events are told from this moment on.
    """
    resumed_after = last_event_id or after
    with gateway.live.subscribe(client.fleet_id, type) as subscription:
        yield ServerSentEvent(comment="from here on")
        told: deque[str] = deque(maxlen=2 * QUEUE_LIMIT)
        if resumed_after is not None and gateway.history is not None:
            try:
                async with aclosing(gateway.history.after(client.fleet_id, resumed_after)) as missed:
                    async for event in missed:
                        if type is None or event.type in type:
                            told.append(event.event_id)
                            yield _sent(event.event_id, event.type, event.body)
            except HistoryFailed as error:
                log.warning("a reader cannot resume; it has to ask again", error=str(error))
                return
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


def _sent(event_id: str, event_type: str, body: bytes) -> ServerSentEvent:
    return ServerSentEvent(raw_data=body.decode(), event=event_type, id=event_id)
