"""Sessions, events and a clock for the store's tests."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from claude_agent_http.domain.event import Event, EventType, NewEvent
from claude_agent_http.domain.session import Session, SessionStatus
from claude_agent_http.ports import Store

START = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
DAY = timedelta(days=1)

# What a text may hold: NUL, lone surrogates, the escape characters themselves, far planes.
NASTY_TEXTS = [
    "",
    "\x00",
    "a\x00b\x00",
    "\ud800",
    "x\udfff\udc00",
    "\\",
    "\\0000",
    "\\u0000\\x00",
    "'; DROP TABLE sessions; --",
    "\U0001f600 \u202e\u0301 ﷽ \ufeff",
    "%s :name ?1 $1 {}",
    "\n\r\t\x1b\x7f\x85\u2028",
]


class TickingClock:
    """One microsecond later at each look, so no two facts have the same time."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> datetime:
        self.time += timedelta(microseconds=1)
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()


def new_session(**values: Any) -> Session:
    defaults: dict[str, Any] = {
        "id": str(uuid4()),
        "user_id": "ann",
        "subdir": None,
        "cwd": "/data/ann",
        "created_at": START,
        "last_active_at": START,
        "creation_digest": "digest",
    }
    return Session(**defaults | values)


def new_event(type_: EventType = EventType.AGENT_MESSAGE, **values: Any) -> NewEvent:
    defaults: dict[str, Any] = {"id": f"sevt_{uuid4().hex}", "type": type_, "data": {"text": "hello"}}
    return NewEvent(**defaults | values)


async def whole_log(store: Store, session_id: str) -> list[Event]:
    """Every event of a session, page by page."""
    events: list[Event] = []
    while page := await store.events.read(session_id, after=events[-1].seq if events else 0, limit=500):
        events += page
    return events


def seqs(events: Iterable[Event]) -> list[int]:
    return [event.seq for event in events]


async def closed(store: Store, days: float, text: str = "", **values: Any) -> Session:
    """A closed session that was last active so many days after the start, with an event of that text."""
    made = new_session(**{"status": SessionStatus.CLOSED, "last_active_at": START + days * DAY} | values)
    await store.sessions.create(made)
    if text:
        await store.events.append(made.id, [new_event(data={"text": text})])
        await store.sessions.set_status(made.id, made.status, made.last_active_at)
    return made


async def delete_expired(store: Store, through: datetime) -> list[Session]:
    """As retention does. Returns them as they were before they were claimed."""
    gone: list[Session] = []
    for part in await store.sessions.expired(through):
        before = {session_id: await store.sessions.get(session_id) for session_id in part}
        claimed = await store.sessions.claim_closed(part, through, "retention")
        leases = [session.lease for session in claimed if session.lease is not None]
        gone += [before[session.id] for session in await store.sessions.delete_closed(leases, through)]
    return gone
