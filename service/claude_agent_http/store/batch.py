"""One transaction for many appends, of one session or of several."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from claude_agent_http.domain.errors import (
    ClaudeAgentError,
    LeaseLostError,
    SessionBusyError,
    SessionNotFoundError,
)
from claude_agent_http.domain.event import Event, NewEvent
from claude_agent_http.domain.lease import Lease
from claude_agent_http.domain.session import Session, SessionPhase, project
from claude_agent_http.store.columns import decode, encode
from claude_agent_http.store.database import rows_of_ids
from claude_agent_http.store.session_rows import select_sessions, to_session
from claude_agent_http.store.tables import events, sessions

_PROJECTED = ("last_seq", "last_active_at", "phase", "message_count", "status")
_SAVE_SESSION = (
    update(sessions)
    .where(sessions.c.id == bindparam("session_id"))
    .values({name: bindparam(f"new_{name}") for name in _PROJECTED})
)
_LOCKED_SESSIONS = (
    select_sessions()
    .where(sessions.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(sessions.c.id)
    .with_for_update()
)
_COLUMNS = ("session_id", "seq", "id", "type", "turn_id", "processed_at", "data")


@dataclass(frozen=True, slots=True)
class Append:
    """`data` is each event's data as JSON, encoded before the append waits for its transaction."""

    session_id: str
    events: tuple[NewEvent, ...]
    data: tuple[str, ...]
    lease: Lease | None = None
    opens_turn: bool = False


def to_append(
    session_id: str, new: Sequence[NewEvent], lease: Lease | None = None, *, opens_turn: bool = False
) -> Append:
    return Append(session_id, tuple(new), tuple(encode(event.data) for event in new), lease, opens_turn)


def to_event(row: Sequence[Any]) -> Event:
    """The event of a row of the columns of `select_events`."""
    session_id, seq, id_, type_, turn_id, processed_at, data = row
    return Event(session_id, seq, id_, type_, decode(data), turn_id, processed_at)


def select_events() -> Any:
    return select(*(events.c[name] for name in _COLUMNS))


# Not `(session_id, id) IN (...)`: SQLite uses no index for it and reads the whole table.
_STORED_EVENTS = select_events().where(
    events.c.session_id.in_(bindparam("session_ids", expanding=True)),
    events.c.id.in_(bindparam("ids", expanding=True)),
)


def store_batch(
    connection: Connection, appends: Sequence[Append], known: dict[str, Session], now: datetime
) -> list[list[Event] | ClaudeAgentError]:
    """For each append its stored events, in order, or why it is refused, which fails nobody else's.

    `known` are the appends' sessions, locked; it is kept up to date."""
    if not appends:
        return []
    batch = _Batch(known, now)
    batch.stored.update(_look_up(connection, appends))
    outcomes = [batch.take(append) for append in appends]
    if batch.rows:
        connection.execute(_SAVE_SESSION, batch.session_rows())
        connection.execute(insert(events), batch.rows)
    return outcomes


def lock_sessions(connection: Connection, ids: Collection[str]) -> dict[str, Session]:
    """In order of id, so that two transactions never wait for each other (SQLite has one writer anyway)."""
    if not ids:
        return {}
    rows = connection.execute(_LOCKED_SESSIONS, {"ids": list(ids)})
    return {session.id: session for session in map(to_session, rows)}


class _Batch:
    """Gives every new event its seq; writes nothing itself."""

    def __init__(self, known: dict[str, Session], now: datetime) -> None:
        self.sessions = known
        self.stored: dict[tuple[str, str], Event] = {}
        self.rows: list[dict[str, Any]] = []
        self._changed: set[str] = set()
        self._now = now

    def take(self, append: Append) -> list[Event] | ClaudeAgentError:
        if refusal := self._refusal(append):
            return refusal
        return [
            self.stored.get((append.session_id, new.id)) or self._add(append.session_id, new, data)
            for new, data in zip(append.events, append.data, strict=True)
        ]

    def _refusal(self, append: Append) -> ClaudeAgentError | None:
        session = self.sessions.get(append.session_id)
        if session is None:
            return SessionNotFoundError(append.session_id)
        if append.lease is not None and not session.is_held_under(append.lease):
            return LeaseLostError(append.session_id)
        # A turn that is stored already is not in its own way: its first answer was lost.
        opened = all((append.session_id, new.id) in self.stored for new in append.events)
        if append.opens_turn and session.phase is SessionPhase.RUNNING and not opened:
            return SessionBusyError()
        return None

    def _add(self, session_id: str, new: NewEvent, data: str) -> Event:
        session = self.sessions[session_id]
        event = Event(session_id, session.last_seq + 1, new.id, new.type, new.data, new.turn_id, self._now)
        self.sessions[session_id] = project(session, (event,))
        self.stored[session_id, new.id] = event
        self._changed.add(session_id)
        self.rows.append({name: getattr(event, name) for name in _COLUMNS} | {"data": data})
        return event

    def session_rows(self) -> list[dict[str, Any]]:
        changed = [self.sessions[session_id] for session_id in sorted(self._changed)]
        return [
            {"session_id": session.id} | {f"new_{name}": getattr(session, name) for name in _PROJECTED}
            for session in changed
        ]


def _look_up(connection: Connection, appends: Sequence[Append]) -> dict[tuple[str, str], Event]:
    """Events of these appends that were stored before."""
    session_ids = list({append.session_id for append in appends})
    ids = [new.id for append in appends for new in append.events]
    rows = rows_of_ids(connection, _STORED_EVENTS, ids, session_ids=session_ids)
    return {(event.session_id, event.id): event for event in map(to_event, rows)}
