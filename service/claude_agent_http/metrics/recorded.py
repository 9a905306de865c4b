"""The fake beside the real thing: telemetry that keeps what it is told, for tests to look at."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from claude_agent_http.domain.event import Event, EventType
from claude_agent_http.domain.telemetry import Expiry, Refusal, StartKind, Takeover
from claude_agent_http.domain.turn import TurnEnd

__all__ = ["RecordedTelemetry"]


@dataclass(slots=True)
class RecordedTelemetry:
    """See `ports.Telemetry`. Each list is in the order of telling; times are in seconds."""

    turns_begun: int = 0
    turns: list[tuple[TurnEnd, float]] = field(default_factory=list)
    first_tokens: list[float] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    starts: list[tuple[StartKind, float]] = field(default_factory=list)
    failed_starts: int = 0
    stops: int = 0
    events: list[EventType] = field(default_factory=list)
    takeovers: list[Takeover] = field(default_factory=list)
    expired: list[Expiry] = field(default_factory=list)
    leases_lost: int = 0

    def turn_began(self) -> None:
        self.turns_begun += 1

    def turn_ended(self, end: TurnEnd, seconds: float) -> None:
        self.turns.append((end, seconds))

    def first_token(self, seconds: float) -> None:
        self.first_tokens.append(seconds)

    def message_refused(self, refusal: Refusal) -> None:
        self.refusals.append(refusal)

    def runtime_started(self, kind: StartKind, seconds: float) -> None:
        self.starts.append((kind, seconds))

    def runtime_start_failed(self) -> None:
        self.failed_starts += 1

    def runtime_stopped(self) -> None:
        self.stops += 1

    def events_stored(self, events: Sequence[Event]) -> None:
        self.events += [event.type for event in events]

    def takeover(self, outcome: Takeover) -> None:
        self.takeovers.append(outcome)

    def session_expired(self, reason: Expiry) -> None:
        self.expired.append(reason)

    def lease_lost(self) -> None:
        self.leases_lost += 1
