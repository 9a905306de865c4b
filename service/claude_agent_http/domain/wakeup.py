"""What replicas tell each other. Each may be lost: the log and the session's row say the same, only later."""

from dataclasses import dataclass

from claude_agent_http.domain.event import Delta, Withdrawn


@dataclass(frozen=True, slots=True)
class Appended:
    """The session's log has grown to `seq` at least."""

    session_id: str
    seq: int


@dataclass(frozen=True, slots=True)
class Changed:
    """The session was taken over, given up, closed or deleted: look at its row."""

    session_id: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """Somebody reads this session on another replica than the one that runs it, and wants its deltas."""

    session_id: str


@dataclass(frozen=True, slots=True)
class PeersChanged:
    """A replica came or went: what it leaves behind can be taken over."""


@dataclass(frozen=True, slots=True)
class Missed:
    """Made by the receiver itself: it heard nothing for a while."""


Wakeup = Appended | Changed | Wanted | PeersChanged | Missed | Delta | Withdrawn
