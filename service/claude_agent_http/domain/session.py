"""A session: one conversation of one user, with a workspace."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from claude_agent_http.domain.event import Event, EventType
from claude_agent_http.domain.lease import Lease


class SessionStatus(StrEnum):
    """What the owner made of the session; a closed one takes no message until it is resumed."""

    ACTIVE = "active"
    CLOSED = "closed"


class SessionPhase(StrEnum):
    """Whether a turn is going on, as the event log tells it."""

    IDLE = "idle"
    RUNNING = "running"


@dataclass(frozen=True, slots=True)
class Session:
    """`cwd` is the workspace's absolute path; times are UTC; `last_seq` is the newest event's, 0 if none.

    `creation_digest` is a hash of what the creator asked for: the same id or idempotency key with another
    digest is a conflict, with the same one a repeat. `lease_holder` is the replica that has it, None: nobody.
    """

    id: str
    user_id: str
    subdir: str | None
    cwd: str
    created_at: datetime
    last_active_at: datetime
    creation_digest: str
    idempotency_key: str | None = None
    status: SessionStatus = SessionStatus.ACTIVE
    phase: SessionPhase = SessionPhase.IDLE
    message_count: int = 0
    last_seq: int = 0
    metadata: dict[str, Any] = field(default_factory=dict)
    lease_holder: str | None = None
    lease_epoch: int = 0

    def is_held_under(self, lease: Lease) -> bool:
        """Whether that lease is the current one."""
        return (self.lease_holder, self.lease_epoch) == (lease.replica_id, lease.epoch)

    @property
    def lease(self) -> Lease | None:
        """The current one; its replica need not live any more."""
        return None if self.lease_holder is None else Lease(self.id, self.lease_holder, self.lease_epoch)


@dataclass(frozen=True, slots=True)
class SessionHead:
    """What changes of a session while others work on it."""

    id: str
    last_seq: int
    status: SessionStatus
    phase: SessionPhase
    lease_holder: str | None
    lease_epoch: int


_PHASE_OF = {
    EventType.STATUS_RUNNING: SessionPhase.RUNNING,
    EventType.STATUS_IDLE: SessionPhase.IDLE,
}


def project(session: Session, events: Iterable[Event]) -> Session:
    """The session after these events; every store keeps its session row by this one rule."""
    for event in events:
        is_message = event.type is EventType.USER_MESSAGE
        session = replace(
            session,
            last_seq=event.seq,
            last_active_at=max(session.last_active_at, event.processed_at),
            phase=_PHASE_OF.get(event.type, session.phase),
            message_count=session.message_count + is_message,
            # Its time to live may have run out between the look at the session and this message.
            status=SessionStatus.ACTIVE if is_message else session.status,
        )
    return session
