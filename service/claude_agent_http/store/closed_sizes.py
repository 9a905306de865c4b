"""How much room closed sessions take, over SQL: each is measured once after its last use, and kept.

A look sums up what is kept. It measures only what was closed, or used, since the last one, or closed by a
replica of an older version, which keeps nothing; in parts, however long a session is.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, bindparam, func, select

from claude_agent_http.store.closed import CLOSED, in_parts
from claude_agent_http.store.database import Database, insert_into, rows_of_ids
from claude_agent_http.store.tables import closed_sizes, events, sessions, transcript_entries

__all__ = ["excess"]

_FOUND_AT_ONCE = 10_000
_SESSIONS_AT_ONCE = 500
_EVENTS_AT_ONCE = 50_000
"""In a statement: it reads them for some 0.3 s, and 1,000,000 of them take 4 to 6 s."""

# Whoever opens or uses a session changes one of these, in whatever version.
_current = and_(
    closed_sizes.c.session_id == sessions.c.id,
    closed_sizes.c.last_seq == sessions.c.last_seq,
    closed_sizes.c.last_active_at == sessions.c.last_active_at,
)
_MEASURED = sessions.join(closed_sizes, _current)
# Locked against deletion until the commit; in order, so that two transactions never wait for each other.
_LIVING = (
    select(sessions.c.id)
    .where(sessions.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(sessions.c.id)
    .with_for_update(read=True, key_share=True)
)


class _Closed(NamedTuple):
    session_id: str
    last_seq: int
    last_active_at: datetime


async def excess(database: Database, most_bytes: int) -> datetime | None:
    """See `SessionStore.excess`."""
    await _measure_new(database)
    if await database.read(_total) <= most_bytes:  # most often, and quicker than putting them in order
        return None
    return await database.read(partial(_first_beyond, most_bytes=most_bytes))


async def _measure_new(database: Database) -> None:
    behind = ""
    while found := await database.read(partial(_unmeasured, behind=behind)):
        behind = found[-1].session_id
        counts = ((closed.session_id, closed.last_seq) for closed in found)
        rest = iter(found)
        for ids in in_parts(counts, sessions=_SESSIONS_AT_ONCE, events=_EVENTS_AT_ONCE):
            part = [next(rest) for _ in ids]
            sizes = await _measure(database, part)
            await database.write(partial(_keep, part=part, sizes=sizes), repeatable=True)


async def _measure(database: Database, part: Sequence[_Closed]) -> Counter[str]:
    """Bytes as JSON."""
    ids = [closed.session_id for closed in part]
    sizes = await database.read(partial(_sum, column=transcript_entries.c.entry, ids=ids))
    for last in range(0, max(closed.last_seq for closed in part), _EVENTS_AT_ONCE):
        some = events.c.seq.between(last + 1, last + _EVENTS_AT_ONCE)
        sizes += await database.read(partial(_sum, column=events.c.data, ids=ids, where=some))
    return sizes


def _total(connection: Connection) -> int:
    total = select(func.coalesce(func.sum(closed_sizes.c.bytes), 0)).select_from(_MEASURED).where(*CLOSED)
    return int(connection.execute(total).scalar_one())


def _first_beyond(connection: Connection, most_bytes: int) -> datetime | None:
    """When the one was last used with which those used last, in order, take more than that."""
    newest_first = [column.desc() for column in (sessions.c.last_active_at, sessions.c.id)]
    so_far = func.sum(closed_sizes.c.bytes).over(order_by=newest_first).label("so_far")
    found = select(sessions.c.last_active_at, sessions.c.id, so_far).select_from(_MEASURED).where(*CLOSED)
    each = found.subquery()
    beyond = select(each.c.last_active_at).where(each.c.so_far > most_bytes)
    first = beyond.order_by(each.c.last_active_at.desc(), each.c.id.desc()).limit(1)
    return connection.execute(first).scalar_one_or_none()


def _unmeasured(connection: Connection, behind: str) -> list[_Closed]:
    query = (
        select(sessions.c.id, sessions.c.last_seq, sessions.c.last_active_at)
        .select_from(sessions.outerjoin(closed_sizes, _current))
        .where(*CLOSED, closed_sizes.c.session_id.is_(None), sessions.c.id > behind)
        .order_by(sessions.c.id)
        .limit(_FOUND_AT_ONCE)
    )
    return [_Closed(*row) for row in connection.execute(query)]


def _keep(connection: Connection, part: Sequence[_Closed], sizes: Counter[str]) -> None:
    living = {row.id for row in rows_of_ids(connection, _LIVING, [closed.session_id for closed in part])}
    rows = [
        closed._asdict() | {"bytes": sizes[closed.session_id]}
        for closed in part
        if closed.session_id in living
    ]
    if not rows:
        return
    insert = insert_into(connection.dialect.name, closed_sizes)
    renewed = {name: insert.excluded[name] for name in ("last_seq", "last_active_at", "bytes")}
    kept = insert.on_conflict_do_update(index_elements=[closed_sizes.c.session_id], set_=renewed)
    connection.execute(kept, rows)


def _sum(
    connection: Connection, column: Any, ids: Sequence[str], where: ColumnElement[bool] | None = None
) -> Counter[str]:
    """Bytes for each session."""
    # JSON is stored as ASCII. PostgreSQL knows the bytes of a text without unpacking it, but not its length.
    length = func.octet_length if connection.dialect.name == "postgresql" else func.length
    session_id = column.table.c.session_id
    query = select(session_id, func.sum(length(column))).where(session_id.in_(ids)).group_by(session_id)
    rows = connection.execute(query if where is None else query.where(where))
    return Counter({session_id: int(size) for session_id, size in rows})
