"""Transcript entries on their way into a transaction that they share with others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from claude_agent_http.domain.errors import LeaseLostError
from claude_agent_http.domain.lease import Lease
from claude_agent_http.domain.session import Session
from claude_agent_http.ports import TranscriptEntry, TranscriptKey
from claude_agent_http.store.columns import encode
from claude_agent_http.store.database import insert_new
from claude_agent_http.store.tables import transcript_entries


@dataclass(frozen=True, slots=True)
class Entries:
    """Rows without the time, encoded before they wait for their transaction."""

    rows: tuple[dict[str, Any], ...]
    lease: Lease | None = None


def to_entries(key: TranscriptKey, entries: Sequence[TranscriptEntry], lease: Lease | None = None) -> Entries:
    return Entries(tuple(_row(key, entry) for entry in entries), lease)


def store_entries(
    connection: Connection, writes: Sequence[Entries], known: Mapping[str, Session], now: datetime
) -> list[LeaseLostError | None]:
    """Leaves out what is stored already, and refuses the writes whose lease their session has no more.

    `known` are the sessions of the leases, locked."""
    refusals = [_refusal(write, known) for write in writes]
    kept = [write for write, refusal in zip(writes, refusals, strict=True) if refusal is None]
    if rows := [row | {"stored_at": now} for write in kept for row in write.rows]:
        connection.execute(insert_new(connection.dialect.name, transcript_entries), rows)
    return refusals


def _refusal(write: Entries, known: Mapping[str, Session]) -> LeaseLostError | None:
    if write.lease is None:
        return None
    session = known.get(write.lease.session_id)
    held = session is not None and session.is_held_under(write.lease)
    return None if held else LeaseLostError(write.lease.session_id)


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
