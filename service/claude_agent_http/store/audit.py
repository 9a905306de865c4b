"""AuditLog over SQL."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, select

from claude_agent_http.domain.audit import AuditEntry, AuditFilter
from claude_agent_http.store.database import Database, insert_new
from claude_agent_http.store.tables import audit_entries

__all__ = ["SqlAuditLog"]

_FIELDS = tuple(AuditEntry.__dataclass_fields__)


class SqlAuditLog:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, entries: Sequence[AuditEntry]) -> None:
        rows = [_values(entry) for entry in entries]

        def work(connection: Connection) -> None:
            connection.execute(insert_new(connection.dialect.name, audit_entries), rows)

        if rows:
            await self._database.write(work, repeatable=True)

    async def page(
        self, wanted: AuditFilter, *, limit: int, before: str | None = None
    ) -> Sequence[AuditEntry]:
        columns = audit_entries.c
        query = select(audit_entries).order_by(columns.id.desc()).limit(limit)
        for name in ("user_id", "session_id", "credential", "result"):
            if (value := getattr(wanted, name)) is not None:
                query = query.where(columns[name] == value)
        if wanted.since is not None:
            query = query.where(columns.at >= wanted.since)
        if wanted.until is not None:
            query = query.where(columns.at < wanted.until)
        if before is not None:
            query = query.where(columns.id < before)
        return await self._database.read(
            lambda connection: [_to_entry(row) for row in connection.execute(query)]
        )

    async def delete_before(self, at: datetime, *, limit: int) -> int:
        columns = audit_entries.c
        old = select(columns.id).where(columns.at < at).order_by(columns.at).limit(limit)
        gone = delete(audit_entries).where(columns.id.in_(old.scalar_subquery())).returning(columns.id)
        return await self._database.write(lambda connection: len(connection.execute(gone).all()))


def _values(entry: AuditEntry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in _FIELDS} | {"result": entry.result}


def _to_entry(row: Row[Any]) -> AuditEntry:
    return AuditEntry(**{name: getattr(row, name) for name in _FIELDS})
