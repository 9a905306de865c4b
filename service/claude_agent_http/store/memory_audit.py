"""AuditLog in memory."""

from collections.abc import Sequence
from datetime import datetime

from claude_agent_http.domain.audit import AuditEntry, AuditFilter

__all__ = ["MemoryAuditLog"]


class MemoryAuditLog:
    def __init__(self) -> None:
        self._entries: dict[str, AuditEntry] = {}

    async def add(self, entries: Sequence[AuditEntry]) -> None:
        for entry in entries:
            self._entries.setdefault(entry.id, entry)

    async def page(
        self, wanted: AuditFilter, *, limit: int, before: str | None = None
    ) -> Sequence[AuditEntry]:
        newest_first = sorted(self._entries.values(), key=lambda entry: entry.id, reverse=True)
        behind = (entry for entry in newest_first if before is None or entry.id < before)
        return [entry for entry in behind if wanted.fits(entry)][:limit]

    async def delete_before(self, at: datetime, *, limit: int) -> int:
        old = sorted((entry.at, entry.id) for entry in self._entries.values() if entry.at < at)[:limit]
        for _, entry_id in old:
            del self._entries[entry_id]
        return len(old)
