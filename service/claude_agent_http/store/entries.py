"""Transcript entries on their way into a transaction that they share with others."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from claude_agent_http.ports import TranscriptEntry, TranscriptKey
from claude_agent_http.store.columns import encode
from claude_agent_http.store.database import insert_new
from claude_agent_http.store.tables import transcript_entries


@dataclass(frozen=True, slots=True)
class Entries:
    """Rows without the time, encoded before they wait for their transaction."""

    rows: tuple[dict[str, Any], ...]


def to_entries(key: TranscriptKey, entries: Sequence[TranscriptEntry]) -> Entries:
    return Entries(tuple(_row(key, entry) for entry in entries))


def store_entries(connection: Connection, writes: Sequence[Entries], now: datetime) -> None:
    """Leaves out what is stored already."""
    if rows := [row | {"stored_at": now} for write in writes for row in write.rows]:
        connection.execute(insert_new(connection.dialect.name, transcript_entries), rows)


def entry_uuid(entry: TranscriptEntry) -> str | None:
    """What makes an entry a repeat of another one; None when nothing does."""
    uuid = entry.get("uuid")
    return uuid if isinstance(uuid, str) and uuid else None


def _row(key: TranscriptKey, entry: TranscriptEntry) -> dict[str, Any]:
    return {
        "project_key": key.project_key,
        "session_id": key.session_id,
        "subpath": key.subpath,
        "uuid": entry_uuid(entry),
        "entry": encode(dict(entry)),
    }
