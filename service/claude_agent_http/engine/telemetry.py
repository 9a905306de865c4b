"""What is told of a turn, and of a message that began none; and telemetry that nobody listens to."""

import asyncio
from collections.abc import Sequence

from claude_agent_http.domain.errors import (
    BudgetReachedError,
    BusyError,
    ClaudeAgentError,
    QuotaExceededError,
    StorageError,
    StorageFullError,
)
from claude_agent_http.domain.event import Event
from claude_agent_http.domain.telemetry import Expiry, Refusal, StartKind, Takeover
from claude_agent_http.domain.turn import TurnEnd
from claude_agent_http.engine.turn import Turn
from claude_agent_http.ports import Telemetry


def watch(turn: Turn, telemetry: Telemetry) -> None:
    """Tell of the turn as it goes; of one whose message was never stored there is nothing to tell."""

    def began(opened: asyncio.Future[Event]) -> None:
        if _was_stored(opened):
            telemetry.turn_began()

    def ended(end: asyncio.Future[TurnEnd]) -> None:
        if _was_stored(turn.opened) and not turn.is_elsewhere:
            telemetry.turn_ended(end.result(), turn.age)

    turn.opened.add_done_callback(began)
    turn.answering.add_done_callback(lambda _: telemetry.first_token(turn.age))
    turn.ended.add_done_callback(ended)


def tell_refusal(error: ClaudeAgentError, telemetry: Telemetry) -> None:
    """Tell why a message was not taken, unless the reason lies in what was asked."""
    match error:
        case BusyError():
            telemetry.message_refused(error.refusal)
        case BudgetReachedError():
            telemetry.message_refused(Refusal.BUDGET)
        case QuotaExceededError():
            telemetry.message_refused(Refusal.QUOTA)
        case StorageFullError():
            telemetry.message_refused(Refusal.STORAGE_FULL)
        case StorageError():
            telemetry.message_refused(Refusal.STORAGE_FAILED)


def _was_stored(opened: asyncio.Future[Event]) -> bool:
    return opened.done() and not opened.cancelled() and opened.exception() is None


class NullTelemetry:
    """Nobody listens."""

    def turn_began(self) -> None: ...

    def turn_ended(self, end: TurnEnd, seconds: float) -> None: ...

    def first_token(self, seconds: float) -> None: ...

    def message_refused(self, refusal: Refusal) -> None: ...

    def runtime_started(self, kind: StartKind, seconds: float) -> None: ...

    def runtime_start_failed(self) -> None: ...

    def runtime_stopped(self) -> None: ...

    def events_stored(self, events: Sequence[Event]) -> None: ...

    def takeover(self, outcome: Takeover) -> None: ...

    def session_expired(self, reason: Expiry) -> None: ...

    def lease_lost(self) -> None: ...
