"""What the engine needs of the world. Each port has a fake beside its real implementations, and one
behavioural suite runs over all of them."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from claude_agent_http.domain.event import Delta, Event, EventType, NewEvent, Withdrawn
from claude_agent_http.domain.session import Session, SessionStatus
from claude_agent_http.domain.turn import TurnEnd


class Clock(Protocol):
    def now(self) -> datetime:
        """The time of day, UTC, timezone-aware."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary point; never goes back."""
        ...


class Ids(Protocol):
    def session_id(self) -> str:
        """A new UUID in its canonical lower-case form."""
        ...

    def event_id(self) -> str:
        """A new `sevt_...` id; ids sort by the millisecond they were made in."""
        ...


class EventLog(Protocol):
    async def append(self, session_id: str, events: Sequence[NewEvent]) -> list[Event]:
        """Store the events with the session's next seqs and keep its row by `domain.session.project`, all
        in one transaction; returns after the commit. An event id already stored in the session is a
        repeat: nothing is stored twice and the stored event is returned in its place.

        Raises SessionNotFoundError, StorageError (StorageFullError when no space is left).
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

        Raises InvalidInputError when `after` is not, or not any more, a session.
        """
        ...

    async def running(self) -> list[Session]:
        """Sessions whose phase is RUNNING."""
        ...

    async def count(self, status: SessionStatus) -> int: ...

    async def set_status(self, session_id: str, status: SessionStatus, at: datetime) -> Session:
        """Set status and last_active_at. Raises SessionNotFoundError."""
        ...

    async def close_unused(self, before: datetime) -> list[str]:
        """Close active sessions that are idle and were last active before that; their ids, 500 at most."""
        ...

    async def delete(self, session_id: str) -> None:
        """Remove the session, its events and its transcripts. Raises SessionNotFoundError."""
        ...


@dataclass(frozen=True, slots=True)
class TranscriptKey:
    """Names one transcript: the session's own (`subpath` ""), or one of its subagents'."""

    project_key: str
    session_id: str
    subpath: str = ""


TranscriptEntry = Mapping[str, Any]


class TranscriptStore(Protocol):
    """The CLI's own conversation files, kept entry by entry (opaque JSON objects)."""

    async def append(self, key: TranscriptKey, entries: Sequence[TranscriptEntry]) -> None:
        """Entries with a `uuid` that is stored already under this key are left out; others always append."""
        ...

    async def load(self, key: TranscriptKey) -> list[dict[str, Any]] | None:
        """All entries in append order, or None when nothing was ever stored under the key."""
        ...

    async def subpaths(self, project_key: str, session_id: str) -> list[str]:
        """The non-empty subpaths stored for the session."""
        ...

    async def sessions(self, project_key: str) -> list[tuple[str, int]]:
        """(session id, time of the last append in Unix milliseconds) of every main transcript."""
        ...

    async def delete(self, key: TranscriptKey) -> None:
        """With subpath "": the session's transcript and all its subagents'; else just that one."""
        ...


class Store(Protocol):
    """One database behind its three ports; `open` connects, migrates and takes the service's lock."""

    @property
    def events(self) -> EventLog: ...
    @property
    def sessions(self) -> SessionStore: ...
    @property
    def transcripts(self) -> TranscriptStore: ...

    async def open(self) -> None:
        """Raises StorageError with what to do; ServiceLockedError when another process holds the database."""
        ...

    async def ping(self) -> None:
        """Raises StorageError when the database does not answer within 2 s."""
        ...

    async def close(self) -> None:
        """Commits what was accepted, then disconnects; safe to call twice."""
        ...


RuntimeItem = NewEvent | Delta | Withdrawn | TurnEnd
ToolGate = Callable[[str, str, dict[str, Any]], Awaitable[bool]]
"""(tool_use_id, tool name, input) -> may the tool run; returns after `agent.tool_started` is stored."""


class AgentRuntime(Protocol):
    """A live agent process of one session, ready for a prompt. Opened, read and closed by one task."""

    def turn(self, prompt: str, turn_id: str) -> AsyncGenerator[RuntimeItem]:
        """Run one turn: events and deltas as they come, then exactly one TurnEnd, and nothing after it.
        Behind it, nothing that is given to the store is stored ahead of the turn's transcript.
        What was begun in deltas comes whole under its id, or is Withdrawn before its text is said anew.

        Raises RuntimeDiedError when the process ends or its output makes no sense; the runtime is then dead.
        """
        ...

    async def interrupt(self) -> None:
        """Ask the current turn to end soon; it still yields its TurnEnd. From any task; never raises."""
        ...

    @property
    def pid(self) -> int | None: ...


class RuntimeFactory(Protocol):
    def open(self, session: Session, gate: ToolGate) -> AbstractAsyncContextManager[AgentRuntime]:
        """Start the session's process (resuming its conversation when one is stored) and stop it, with
        every process it started, at exit. Entering raises RuntimeStartError."""
        ...

    async def forget(self, session_id: str) -> None:
        """Remove what the runtimes of a deleted session left on disk outside its workspace."""
        ...


class Workspaces(Protocol):
    async def resolve(self, user_id: str, subdir: str | None) -> str:
        """The workspace's absolute path, made if it may be. Raises InvalidInputError, WorkspaceError."""
        ...
