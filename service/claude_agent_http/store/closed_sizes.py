"""How much room closed sessions take, over SQL: read in parts, however long a session is."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, func, select, tuple_

from claude_agent_http.store.closed import CLOSED, in_parts
from claude_agent_http.store.columns import row_of
from claude_agent_http.store.database import Database
from claude_agent_http.store.tables import events, sessions, transcript_entries

__all__ = ["excess"]

_FOUND_AT_ONCE = 10_000
_SESSIONS_AT_ONCE = 500
_EVENTS_AT_ONCE = 50_000
"""In a statement: it reads them for some 0.3 s, and 1,000,000 of them take 4 to 6 s."""


class _Closed(NamedTuple):
    last_active_at: datetime
    session_id: str
    last_seq: int


async def excess(database: Database, most_bytes: int) -> datetime | None:
    """See `SessionStore.excess`."""
    room = most_bytes
    async for closed, size in _sizes(database):
        room -= size
        if room < 0:
            return closed.last_active_at
    return None


async def _sizes(database: Database) -> AsyncIterator[tuple[_Closed, int]]:
    """Those that retention may take, the last used first, each with its bytes as JSON."""
    behind: _Closed | None = None
    while found := await database.read(partial(_find, behind=behind)):
        behind = found[-1]
        counts = ((closed.session_id, closed.last_seq) for closed in found)
        rest = iter(found)
        for ids in in_parts(counts, sessions=_SESSIONS_AT_ONCE, events=_EVENTS_AT_ONCE):
            part = [next(rest) for _ in ids]
            sizes = await _measure(database, part)
            for closed in part:
                yield closed, sizes[closed.session_id]


async def _measure(database: Database, part: Sequence[_Closed]) -> Counter[str]:
    ids = [closed.session_id for closed in part]
    sizes = await database.read(partial(_sum, column=transcript_entries.c.entry, ids=ids))
    for last in range(0, max(closed.last_seq for closed in part), _EVENTS_AT_ONCE):
        some = events.c.seq.between(last + 1, last + _EVENTS_AT_ONCE)
        sizes += await database.read(partial(_sum, column=events.c.data, ids=ids, where=some))
    return sizes


def _find(connection: Connection, behind: _Closed | None) -> list[_Closed]:
    use = (sessions.c.last_active_at, sessions.c.id)
    query = select(*use, sessions.c.last_seq).where(*CLOSED)
    if behind is not None:
        query = query.where(tuple_(*use) < row_of(use, (behind.last_active_at, behind.session_id)))
    rows = connection.execute(query.order_by(*(column.desc() for column in use)).limit(_FOUND_AT_ONCE))
    return [_Closed(*row) for row in rows]


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
