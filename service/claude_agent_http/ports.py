"""What the engine needs of the world. Each port has a fake beside its real implementations, and one
behavioural suite runs over all of them."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from claude_agent_http.domain.event import Delta, Event, EventType, NewEvent, Withdrawn
from claude_agent_http.domain.lease import Lease, Replica
from claude_agent_http.domain.session import Session, SessionHead, SessionStatus
from claude_agent_http.domain.telemetry import Expiry, Refusal, StartKind, Takeover
from claude_agent_http.domain.turn import TurnEnd
from claude_agent_http.domain.wakeup import Wakeup


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

    def replica_id(self) -> str:
        """A new one, never used before by any process."""
        ...

    def event_id(self) -> str:
        """A new `sevt_...` id; ids sort by the millisecond they were made in."""
        ...


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

        Raises InvalidInputError when `after` is not, or not any more, a session.
        """
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

    async def delete_closed(self, through: datetime) -> list[Session]:
        """Delete, as `delete` does, sessions that are closed and idle, that no replica holds, and that were
        last active at that time or before; those first that were so longest ago, 20 at most. Returns them."""
        ...

    async def excess(self, most_bytes: int) -> datetime | None:
        """Through when `delete_closed` must delete so that the events and transcripts of the rest of what it
        may delete take at most so many bytes; None when they do. Reads until that is sure, in parts."""
        ...

    async def delete(self, session_id: str) -> None:
        """Remove the session, its events and its transcripts. Raises SessionNotFoundError."""
        ...


class Leases(Protocol):
    """Which replica runs a session. A replica that does not renew its stay loses its leases by time, as the
    database's clock tells it; where one process owns the database (`Store.is_shared` False) it never does."""

    async def join(self, replica: Replica, seconds: float) -> None:
        """Register a replica; its leases hold for `seconds` from now, or from each `renew`."""
        ...

    async def renew(self, replica_id: str, seconds: float) -> int:
        """How many replicas live, itself included; 0 when its time was up or it never joined: any of its
        leases may have been taken."""
        ...

    async def leave(self, replica_id: str) -> None:
        """Give up every lease at once. Not joined: nothing happens."""
        ...

    async def claim(self, session_id: str, replica_id: str) -> Lease | None:
        """The lease, with a new epoch; None while another living replica has it.

        Raises SessionNotFoundError.
        """
        ...

    async def seize(self, session_id: str, replica_id: str) -> tuple[Lease, Lease | None]:
        """The lease whoever has it, and the one of the other living replica that had it until now, if any:
        that one can write no more, but its process may still run until `has_stopped`.

        Raises SessionNotFoundError.
        """
        ...

    async def release(self, lease: Lease) -> None:
        """Everything that ran under this lease has ended. Harmless when it is not the session's any more."""
        ...

    async def has_stopped(self, lease: Lease) -> bool:
        """Whether it was released, or its replica, or the session, does not live any more."""
        ...

    async def orphans(self, replica_id: str, limit: int) -> list[Session]:
        """Sessions whose phase is RUNNING and whose lease no other living replica has."""
        ...


class Wakeups(Protocol):
    """Tells the other replicas what happened here, and hears what did there. A convenience: any word may be
    lost, and who needs to be sure asks the database from time to time."""

    async def start(self, hear: Callable[[Wakeup], None]) -> None:
        """`hear` gets what others tell, never one's own words, and `Missed` after a gap. It does not wait."""
        ...

    def tell(self, wakeup: Wakeup) -> None:
        """Soon; never waits and never fails. What is told of a commit must be told after it."""
        ...

    async def close(self) -> None:
        """Tells what waits to be told, for a second at most; safe to call twice."""
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

    async def append(
        self, key: TranscriptKey, entries: Sequence[TranscriptEntry], *, lease: Lease | None = None
    ) -> None:
        """Entries with a `uuid` that is stored already under this key are left out; others always append.

        Raises LeaseLostError when the `lease`, if given, is not the session's any more; StorageError.
        """
        ...

    async def rewind(self, key: TranscriptKey, uuid: str, *, lease: Lease) -> bool:
        """Remove the entry of this uuid and all that came after it under the key; False when it is not there.

        Raises LeaseLostError, StorageError.
        """
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
    """One database behind its ports; `open` connects and migrates, and takes the lock of a database that one
    process must have for itself. `is_shared`: several replicas may use it at once."""

    @property
    def events(self) -> EventLog: ...
    @property
    def sessions(self) -> SessionStore: ...
    @property
    def transcripts(self) -> TranscriptStore: ...
    @property
    def leases(self) -> Leases: ...
    @property
    def wakeups(self) -> Wakeups: ...
    @property
    def is_shared(self) -> bool: ...

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

    def kill(self) -> None:
        """End the process and all that it started, at once; a turn under way raises RuntimeDiedError."""
        ...

    @property
    def pid(self) -> int | None: ...


class RuntimeFactory(Protocol):
    def open(
        self, session: Session, gate: ToolGate, lease: Lease, *, undo: str | None = None
    ) -> AbstractAsyncContextManager[AgentRuntime]:
        """Start the session's process (resuming its conversation when one is stored) and stop it, with
        every process it started, at exit. `undo` is the id of a turn that will be run again: what the
        conversation holds of it, and all behind it, is dropped before.

        Entering raises RuntimeStartError, LeaseLostError.
        """
        ...

    def hold(self, until: float | None) -> None:
        """Let every process live until then, in the clock's monotonic seconds, unless told again; None for
        good. What is not told in time ends by itself, even while the service is paused."""
        ...

    async def forget(self, session: Session) -> None:
        """Remove what the runtimes of a deleted session left on disk outside its workspace. Never raises."""
        ...

    async def forget_user(self, user_id: str) -> None:
        """Remove what is left of all sessions that this user ever had, where `forget` did not come to it or
        could not do it. None of them may be live.

        Raises InvalidInputError; WorkspaceError when something stays.
        """
        ...


class Workspaces(Protocol):
    async def is_visible(self, session: Session) -> bool:
        """Whether the session's files are on this replica's disk. Raises nothing."""
        ...

    async def resolve(self, user_id: str, subdir: str | None) -> str:
        """The workspace's absolute path, made if it may be. Raises InvalidInputError, WorkspaceError."""
        ...

    async def erase(self, user_id: str) -> int:
        """Remove the user's folder on this replica's disk, with every workspace in it; how many files went,
        0 for a user without a folder. A repeat goes on where a failure or a crash ended it.

        Raises InvalidInputError; WorkspaceError when something stays.
        """
        ...


class Telemetry(Protocol):
    """What the engine tells of itself. No method waits or raises. Times are in seconds."""

    def turn_began(self) -> None:
        """Its message is stored; `turn_ended` follows once, unless another replica takes the turn over."""
        ...

    def turn_ended(self, end: TurnEnd, seconds: float) -> None:
        """`seconds` since the message came."""
        ...

    def first_token(self, seconds: float) -> None:
        """The answer began, with its first delta, message or tool use, so long after the message came."""
        ...

    def message_refused(self, refusal: Refusal) -> None: ...

    def runtime_started(self, kind: StartKind, seconds: float) -> None:
        """`seconds` from when it was this runtime's turn to start."""
        ...

    def runtime_start_failed(self) -> None: ...

    def runtime_stopped(self) -> None:
        """One that had started, for whatever reason."""
        ...

    def events_stored(self, events: Sequence[Event]) -> None: ...

    def takeover(self, outcome: Takeover) -> None:
        """A turn that another replica had left unfinished was settled here."""
        ...

    def session_expired(self, reason: Expiry) -> None:
        """A closed session was deleted here because it was too old, or all of them too large."""
        ...

    def lease_lost(self) -> None:
        """Another replica has a session that this one held."""
        ...
