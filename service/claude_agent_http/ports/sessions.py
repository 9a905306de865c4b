"""Sessions and their event logs."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from claude_agent_http.domain.event import Event, EventType, NewEvent
from claude_agent_http.domain.lease import Lease
from claude_agent_http.domain.session import Session, SessionHead, SessionStatus

__all__ = ["EventLog", "SessionStore"]


class EventLog(Protocol):
    async def append(
        self,
        session_id: str,
        events: Sequence[NewEvent],
        *,
        lease: Lease | None = None,
        opens_turn: bool = False,
    ) -> list[Event]:
        """Store the events with the session's next seqs and keep its row by `domain.session.project`, all
        in one transaction; returns after the commit. An event id already stored in the session is a
        repeat: nothing is stored twice and the stored event is returned in its place.

        With a `lease` they are the word of whoever runs the session, and refused when it is not the
        session's any more. `opens_turn`: refused while a turn runs.

        Raises SessionNotFoundError, LeaseLostError, SessionBusyError, StorageError (StorageFullError when no
        space is left).
        """
        ...

    async def read(
        self, session_id: str, *, after: int = 0, limit: int = 100, types: frozenset[EventType] | None = None
    ) -> list[Event]:
        """Events with seq > `after`, in order, at most `limit`; empty for an unknown session."""
        ...


class SessionStore(Protocol):
    async def create(self, session: Session) -> Session:
        """Store a new session. When its id, or its idempotency key for the same user, is stored already
        with the same creation_digest, that stored session is returned instead.

        Raises SessionConflictError when the digest differs.
        """
        ...

    async def find_repeat(self, session: Session) -> Session | None:
        """The stored session that `create` would return instead of this one; its `cwd` does not matter.

        Raises SessionConflictError as `create` does.
        """
        ...

    async def get(self, session_id: str) -> Session:
        """Raises SessionNotFoundError."""
        ...

    async def list_ids(self, *, user_id: str | None, limit: int, after: str | None = None) -> list[str]:
        """Ids, newest first by (created_at, id), those behind session `after`; `limit` at most.

        Raises InvalidInputError when `after` is not, or not any more, a session (of that user).
        """
        ...

    async def one_a_folder(self, user_id: str, *, limit: int, after: str | None = None) -> list[Session]:
        """For each `cwd` where the user's sessions had a message one of these, in order of the `cwd`, those
        behind the folder `after`; `limit` at most."""
        ...

    async def heads(self, session_ids: Collection[str]) -> dict[str, SessionHead]:
        """What the rows of these sessions say now; those that do not exist are left out."""
        ...

    async def count(self, status: SessionStatus) -> int: ...

    async def set_status(self, session_id: str, status: SessionStatus, at: datetime) -> Session:
        """Set status and last_active_at. Raises SessionNotFoundError."""
        ...

    async def close_unused(self, before: datetime) -> list[str]:
        """Close active sessions that are idle and were last active before that; their ids, 500 at most."""
        ...

    async def expired(self, through: datetime) -> list[list[str]]:
        """Ids of sessions that are closed and idle, that no replica holds, and that were last active at that
        time or before; those first that were so longest ago, in parts that one transaction can delete. Empty
        when there are none; when there are very many, the first of them."""
        ...

    async def claim_closed(
        self, session_ids: Collection[str], through: datetime, replica_id: str
    ) -> list[Session]:
        """Claim, as `Leases.claim` does, those of a part of `expired` that may still go. Returns them."""
        ...

    async def delete_closed(self, leases: Collection[Lease], through: datetime) -> list[Session]:
        """Delete, as `delete` does, those of one part that are still held under these leases and that nobody
        opened or used again. Returns them."""
        ...

    async def excess(self, most_bytes: int) -> datetime | None:
        """Through when retention must delete so that the events and transcripts of the rest of what it may
        delete take at most so many bytes; None when they do. Reads until that is sure, in parts. What a
        session takes is read once after its last use, and kept; it goes with the session."""
        ...

    async def delete(self, session_id: str, *, lease: Lease | None = None) -> None:
        """Remove the session, its events and its transcripts. Raises SessionNotFoundError; LeaseLostError
        when the `lease`, if given, is not the session's any more."""
        ...
