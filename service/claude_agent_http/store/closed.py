"""Closed sessions that retention takes away, over SQL."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, select, update

from claude_agent_http.domain.lease import Lease
from claude_agent_http.domain.session import Session, SessionPhase, SessionStatus
from claude_agent_http.store.session_rows import select_sessions, to_session
from claude_agent_http.store.tables import replicas, seized_leases, sessions, transcript_entries

EXPIRED_AT_ONCE = 10_000
DELETE_AT_ONCE = 20
"""Sessions in a transaction: with 100 events each it keeps SQLite's only writer for some 15 ms."""
EVENTS_AT_ONCE = 2000
"""In a transaction that deletes more than one session."""

# A replica's row is there as long as it may live, and then some: what it holds may still have a process.
_unheld = ~exists().where(replicas.c.id == sessions.c.lease_holder)
_former = and_(seized_leases.c.session_id == sessions.c.id, replicas.c.id == seized_leases.c.replica_id)
_alone = ~exists().where(_former)
_UNUSED = (sessions.c.status == SessionStatus.CLOSED, sessions.c.phase == SessionPhase.IDLE)
CLOSED = (*_UNUSED, _unheld, _alone)


def expired(connection: Connection, through: datetime) -> list[list[str]]:
    """See `SessionStore.expired`. It sorts them all: an index on `last_active_at` would make each append of
    an event three times as much work, for PostgreSQL then renews every index of the session's row."""
    found = (
        select(sessions.c.id, sessions.c.last_seq)
        .where(*CLOSED, sessions.c.last_active_at <= through)
        .order_by(sessions.c.last_active_at, sessions.c.id)
        .limit(EXPIRED_AT_ONCE)
    )
    return in_parts((session_id, last_seq) for session_id, last_seq in connection.execute(found))


def in_parts(
    counts: Iterable[tuple[str, int]], *, sessions: int = DELETE_AT_ONCE, events: int = EVENTS_AT_ONCE
) -> list[list[str]]:
    """Sessions, given with the number of their events, in order: so many of both in a part, unless it is one
    session alone."""
    parts: list[list[str]] = []
    room = 0
    for session_id, count in counts:
        if not parts or len(parts[-1]) == sessions or count > room:
            parts.append([])
            room = events
        parts[-1].append(session_id)
        room -= count
    return parts


def claim_closed(
    connection: Connection, ids: Collection[str], through: datetime, replica_id: str
) -> list[Session]:
    """See `SessionStore.claim_closed`."""
    found = _locked(connection, ids, *CLOSED, sessions.c.last_active_at <= through)
    if not found:
        return []
    found_ids = [session.id for session in found]
    taken = {"lease_holder": replica_id, "lease_epoch": sessions.c.lease_epoch + 1}
    connection.execute(update(sessions).where(sessions.c.id.in_(found_ids)).values(taken))
    connection.execute(delete(seized_leases).where(seized_leases.c.session_id.in_(found_ids)))
    return [
        replace(session, lease_holder=replica_id, lease_epoch=session.lease_epoch + 1) for session in found
    ]


def delete_closed(connection: Connection, leases: Collection[Lease], through: datetime) -> list[Session]:
    """See `SessionStore.delete_closed`."""
    ids = [lease.session_id for lease in leases]
    found = _locked(connection, ids, *_UNUSED, sessions.c.last_active_at <= through)
    gone = [session for session in found if session.lease in leases]
    if gone:
        gone_ids = [session.id for session in gone]
        connection.execute(delete(sessions).where(sessions.c.id.in_(gone_ids)))
        connection.execute(delete(transcript_entries).where(transcript_entries.c.session_id.in_(gone_ids)))
    return gone


def _locked(connection: Connection, ids: Collection[str], *where: ColumnElement[bool]) -> list[Session]:
    """Those of them whose row nobody else has locked, for that one is being used."""
    query = (
        select_sessions()
        .where(sessions.c.id.in_(ids), *where)
        .order_by(sessions.c.last_active_at, sessions.c.id)
        .with_for_update(skip_locked=True)
    )
    return [to_session(row) for row in connection.execute(query)]
