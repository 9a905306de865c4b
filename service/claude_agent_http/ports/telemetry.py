"""What the engine tells of itself."""

from collections.abc import Sequence
from typing import Protocol

from claude_agent_http.domain.event import Event
from claude_agent_http.domain.telemetry import Expiry, Refusal, StartKind, Takeover
from claude_agent_http.domain.turn import TurnEnd

__all__ = ["Telemetry"]


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
