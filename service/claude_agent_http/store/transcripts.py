"""TranscriptStore over SQL."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, select

from claude_agent_http.domain.errors import LeaseLostError
from claude_agent_http.domain.lease import Lease
from claude_agent_http.ports import TranscriptEntry, TranscriptKey
from claude_agent_http.store.batch import lock_sessions
from claude_agent_http.store.columns import decode
from claude_agent_http.store.database import Database
from claude_agent_http.store.entries import to_entries
from claude_agent_http.store.tables import transcript_entries as table
from claude_agent_http.store.writes import Writes


class SqlTranscriptStore:
    def __init__(self, database: Database, writes: Writes) -> None:
        self._database = database
        self._writes = writes

    async def append(
        self, key: TranscriptKey, entries: Sequence[TranscriptEntry], *, lease: Lease | None = None
    ) -> None:
        if entries:
            await self._writes.keep(to_entries(key, entries, lease))

    async def rewind(self, key: TranscriptKey, uuid: str, *, lease: Lease) -> bool:
        return await self._database.write(lambda connection: _rewind(connection, key, uuid, lease))

    async def load(self, key: TranscriptKey) -> list[dict[str, Any]] | None:
        query = select(table.c.entry).where(_under(key)).order_by(table.c.position)
        texts = await self._database.read(lambda connection: list(connection.execute(query).scalars()))
        return [decode(text) for text in texts] or None

    async def subpaths(self, project_key: str, session_id: str) -> list[str]:
        query = (
            select(table.c.subpath)
            .distinct()
            .where(
                table.c.project_key == project_key, table.c.session_id == session_id, table.c.subpath != ""
            )
        )
        return sorted(await self._database.read(lambda connection: connection.execute(query).scalars().all()))

    async def sessions(self, project_key: str) -> list[tuple[str, int]]:
        query = (
            select(table.c.session_id, func.max(table.c.stored_at))
            .where(table.c.project_key == project_key, table.c.subpath == "")
            .group_by(table.c.session_id)
        )
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        # Sorted here: the database sees a NUL or a surrogate escaped, and would order by the escape.
        return sorted((session_id, int(stored_at.timestamp() * 1000)) for session_id, stored_at in rows)

    async def delete(self, key: TranscriptKey) -> None:
        whole = and_(table.c.project_key == key.project_key, table.c.session_id == key.session_id)
        gone = delete(table).where(_under(key) if key.subpath else whole)
        await self._database.write(lambda connection: connection.execute(gone) and None, repeatable=True)


def _rewind(connection: Connection, key: TranscriptKey, uuid: str, lease: Lease) -> bool:
    session = lock_sessions(connection, [lease.session_id]).get(lease.session_id)
    if session is None or not session.is_held_under(lease):
        raise LeaseLostError(lease.session_id)
    where = select(table.c.position).where(_under(key), table.c.uuid == uuid)
    position = connection.execute(where).scalar()
    if position is None:
        return False
    connection.execute(delete(table).where(_under(key), table.c.position >= position))
    return True


def _under(key: TranscriptKey) -> ColumnElement[bool]:
    return and_(
        table.c.project_key == key.project_key,
        table.c.session_id == key.session_id,
        table.c.subpath == key.subpath,
    )
