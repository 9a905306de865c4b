"""Closed sessions that retention takes away, over SQL."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Column, Connection, ScalarSelect, delete, exists, func, literal, select, tuple_

from claude_agent_http.domain.session import Session, SessionPhase, SessionStatus
from claude_agent_http.store.session_rows import select_sessions, to_session
from claude_agent_http.store.tables import events, replicas, sessions, transcript_entries

DELETE_AT_ONCE = 20
"""Sessions in a transaction: with 100 events each it keeps SQLite's only writer for some 15 ms."""
SIZES_AT_ONCE = 500
"""Sessions in a statement: with 100 events each it reads for some 0.3 s, and 10,000 of them take 4 to 6 s."""


class ClosedSize(NamedTuple):
    """`size` is the bytes of the session's events and transcripts, as JSON."""

    last_active_at: datetime
    session_id: str
    size: int


# A replica's row is there as long as it may live, and then some: what it holds may still have a process.
_unheld = ~exists().where(replicas.c.id == sessions.c.lease_holder)
_closed = (sessions.c.status == SessionStatus.CLOSED, sessions.c.phase == SessionPhase.IDLE, _unheld)


def delete_closed(connection: Connection, through: datetime) -> list[Session]:
    """See `SessionStore.delete_closed`. A session whose row is locked is being used."""
    found = (
        select_sessions()
        .where(*_closed, sessions.c.last_active_at <= through)
        .order_by(sessions.c.last_active_at, sessions.c.id)
        .limit(DELETE_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    gone = [to_session(row) for row in connection.execute(found)]
    ids = [session.id for session in gone]
    if ids:
        connection.execute(delete(sessions).where(sessions.c.id.in_(ids)))
        connection.execute(delete(transcript_entries).where(transcript_entries.c.session_id.in_(ids)))
    return gone


def closed_sizes(connection: Connection, behind: ClosedSize | None) -> list[ClosedSize]:
    """Of those that `delete_closed` would take, the last used first, at most SIZES_AT_ONCE."""
    # JSON is stored as ASCII. PostgreSQL knows the bytes of a text without unpacking it, but not its length.
    length = func.octet_length if connection.dialect.name == "postgresql" else func.length

    def total(column: Column[str], of: Column[str]) -> ScalarSelect[int]:
        found = select(func.coalesce(func.sum(length(column)), 0)).where(of == sessions.c.id)
        return found.scalar_subquery()

    size = total(events.c.data, events.c.session_id)
    size_of_transcripts = total(transcript_entries.c.entry, transcript_entries.c.session_id)
    use = (sessions.c.last_active_at, sessions.c.id)
    query = select(*use, size, size_of_transcripts).where(*_closed)
    if behind is not None:
        values = [literal(value, column.type) for value, column in zip(behind, use, strict=False)]
        query = query.where(tuple_(*use) < tuple_(*values))
    rows = connection.execute(query.order_by(*(column.desc() for column in use)).limit(SIZES_AT_ONCE))
    return [ClosedSize(at, session_id, int(of_events + rest)) for at, session_id, of_events, rest in rows]
