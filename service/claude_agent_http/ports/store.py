"""One database behind all the ports of what is stored."""

from typing import Protocol

from claude_agent_http.ports.clock import Clock
from claude_agent_http.ports.records import ApiKeys, AuditLog, UsageStore
from claude_agent_http.ports.replicas import Leases, Wakeups
from claude_agent_http.ports.sessions import EventLog, SessionStore
from claude_agent_http.ports.transcripts import TranscriptStore

__all__ = ["Store"]


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
    def usage(self) -> UsageStore: ...
    @property
    def leases(self) -> Leases: ...
    @property
    def wakeups(self) -> Wakeups: ...
    @property
    def api_keys(self) -> ApiKeys: ...
    @property
    def audit(self) -> AuditLog: ...
    @property
    def is_shared(self) -> bool: ...
    @property
    def clock(self) -> Clock:
        """What it stores times by, and what they are to be compared with: all who share it go by one time."""
        ...

    async def open(self) -> None:
        """Raises StorageError with what to do; ServiceLockedError when another process holds the database."""
        ...

    async def ping(self) -> None:
        """Raises StorageError when the database does not answer within 2 s."""
        ...

    async def scrub(self) -> bool:
        """Remove what was deleted from where the store keeps earlier states of its own; False when somebody
        still reads one of them. Raises StorageError."""
        ...

    async def close(self) -> None:
        """Commits what was accepted, then disconnects; safe to call twice."""
        ...
