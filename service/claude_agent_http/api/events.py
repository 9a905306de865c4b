"""The session's event log, by pages and as a stream."""

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from claude_agent_http.api.access import OWNER
from claude_agent_http.api.cursors import from_cursor, to_cursor
from claude_agent_http.api.event_view import (
    deleted_json,
    delta_json,
    event_json,
    start_json,
    withdrawn_json,
)
from claude_agent_http.api.fields import EventTypeName, Position, Seq
from claude_agent_http.api.json_text import ExactJSONResponse, to_json
from claude_agent_http.api.models import EventPage, EventView
from claude_agent_http.api.openapi import documented, event_stream
from claude_agent_http.api.parts import CurrentEngine, OpenSession, SessionId
from claude_agent_http.api.sse import KEEP_ALIVE, LINE_END
from claude_agent_http.api.stream_models import EVENT_STREAM_MODELS
from claude_agent_http.domain.errors import InvalidInputError
from claude_agent_http.domain.event import Delta, Event, Followed, SessionDeleted, Withdrawn
from claude_agent_http.domain.session import Session
from claude_agent_http.engine import Engine

router = APIRouter(prefix="/api/v1/sessions/{session_id}/events", tags=["events"], dependencies=[OWNER])

_EXAMPLE = (
    'id: 1\nevent: message\ndata: {"seq":1,"type":"user.message","content":[{"type":"text","text":"Hi"}]}\n\n'
)


@router.get("", summary="Read events", response_model=EventPage, responses=documented(404, 422))
async def page_of_events(
    session_id: SessionId,
    engine: CurrentEngine,
    after: Annotated[Seq, Query(description="Events behind this seq.")] = 0,
    page: Annotated[str | None, Query(max_length=64, description="`next_page` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    types: Annotated[list[EventTypeName] | None, Query(alias="types[]", description="Only these.")] = None,
    type_: Annotated[list[EventTypeName] | None, Query(alias="type", description="The same.")] = None,
) -> Response:
    """Events in order, oldest first. `page` wins over `after`."""
    start = after if page is None else from_cursor(page)
    wanted = frozenset((types or []) + (type_ or [])) or None
    found = await engine.events(session_id, after=start, limit=limit + 1, types=wanted)
    shown = found[:limit]
    next_page = to_cursor(shown[-1].seq) if len(found) > limit else None
    return ExactJSONResponse({"data": [event_json(event) for event in shown], "next_page": next_page})


@router.get(
    "/stream",
    summary="Follow events",
    response_class=Response,
    responses={
        **event_stream(
            "Every event behind the given point, then live ones.", _EXAMPLE, EventView, *EVENT_STREAM_MODELS
        ),
        **documented(404, 422),
    },
)
async def stream(
    session: OpenSession,
    engine: CurrentEngine,
    after: Annotated[Position, Query(description="Events behind this seq; `latest`: only new ones.")] = 0,
    deltas: Annotated[bool, Query(description="Also pieces of messages while they are written.")] = False,
    wake: Annotated[
        bool, Query(description="Start a hibernated session's agent, if there is a free place for it.")
    ] = False,
    last_event_id: Annotated[
        Seq | None, Header(description="The last `id:` seen; wins over `after`.")
    ] = None,
) -> EventSourceResponse:
    """Replays exactly what was missed, then goes on live, until the session is deleted or the service stops.

    Each event's `id:` is its seq. Deltas (`event_start`, `event_delta`) have none: they are not stored, and
    the whole message that follows under the same event id replaces them; `event_withdrawn` takes them back.
    `wake` starts the agent ahead of the next message, whose answer then begins sooner.
    A deleted session's stream ends with `session.deleted`, which has no `id:` either.
    """
    start = _start(session, after, last_event_id)
    if wake:
        await engine.wake(session.id)
    return EventSourceResponse(_messages(engine, session.id, start, deltas), **KEEP_ALIVE)


def _start(session: Session, after: int | Literal["latest"], last_event_id: int | None) -> int:
    """The seq to go on after. One that the log has not reached is of another log, as after a restored backup:
    who followed it would wait, and miss what comes. Raises InvalidInputError."""
    field, asked = ("after", after) if last_event_id is None else ("Last-Event-ID", last_event_id)
    start = session.last_seq if asked == "latest" else asked
    if start > session.last_seq:
        raise InvalidInputError(
            field, f"is {start}, and the log ends at {session.last_seq}; read it again from the beginning"
        )
    return start


async def _messages(
    engine: Engine, session_id: str, after: int, deltas: bool
) -> AsyncIterator[ServerSentEvent]:
    async with aclosing(engine.follow(session_id, after=after, deltas=deltas)) as items:
        started: set[str] = set()
        async for item in items:
            for message in _of(item, started):
                yield message


def _of(item: Followed, started: set[str]) -> Iterator[ServerSentEvent]:
    """`started` are the ids of the events that this stream has begun and not concluded."""
    match item:
        case Event():
            started.discard(item.id)
            yield _message(event_json(item), seq=str(item.seq))
        case Delta():
            if item.event_id not in started:
                started.add(item.event_id)
                yield _message(start_json(item))
            if (piece := delta_json(item)) is not None:
                yield _message(piece)
        case Withdrawn():
            started.discard(item.event_id)
            yield _message(withdrawn_json(item))
        case SessionDeleted():
            yield _message(deleted_json(item))


def _message(data: dict[str, object], seq: str | None = None) -> ServerSentEvent:
    return ServerSentEvent(to_json(data), event="message", id=seq, sep=LINE_END)
