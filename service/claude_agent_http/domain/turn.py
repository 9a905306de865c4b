"""A turn: the work between a user's message and the session being idle again."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from claude_agent_http.domain.tokens import TokenCounts


class StopReason(StrEnum):
    """Why a session became idle, as the Managed Agents API says it; an interrupted turn is `end_turn`."""

    END_TURN = "end_turn"
    REQUIRES_ACTION = "requires_action"
    RETRIES_EXHAUSTED = "retries_exhausted"
    BUDGET_REACHED = "budget_reached"
    REFUSAL = "refusal"


class ErrorKind(StrEnum):
    """What went wrong in a turn: `error.type` of `session.error`."""

    MODEL_OVERLOADED = "model_overloaded_error"
    MODEL_RATE_LIMITED = "model_rate_limited_error"
    MODEL_AUTHENTICATION = "model_authentication_error"
    MODEL_REQUEST_FAILED = "model_request_failed_error"
    MODEL_NOT_ALLOWED = "model_not_allowed_error"
    BUDGET_REACHED = "budget_reached_error"
    DAY_BUDGET_REACHED = "day_budget_reached_error"
    MAX_TURNS = "max_turns_reached_error"
    RUNTIME_DIED = "runtime_died_error"
    RUNTIME_START_FAILED = "runtime_start_failed_error"
    RUNTIME_UNRESPONSIVE = "runtime_unresponsive_error"
    STORAGE_FAILED = "storage_failed_error"
    STORAGE_FULL = "storage_full_error"
    QUOTA_EXCEEDED = "quota_exceeded_error"
    FILES_ELSEWHERE = "files_elsewhere_error"
    SERVICE_RESTARTED = "service_restarted_error"
    INTERRUPTED = "interrupted_error"
    INTERNAL = "internal_error"


@dataclass(frozen=True, slots=True)
class TurnError:
    """`message` is safe to show to the session's owner: it holds no credential."""

    kind: ErrorKind
    message: str


@dataclass(frozen=True, slots=True)
class Usage(TokenCounts):
    """One turn's tokens as the model API counts them; `cost_usd` as the CLI reckons it, None if unknown."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cost_usd: float | None = None

    def with_tokens_of(self, other: "Usage") -> "Usage":
        """The tokens of both, and this one's cost."""
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cache_read_input_tokens + other.cache_read_input_tokens,
            self.cache_creation_input_tokens + other.cache_creation_input_tokens,
            self.cost_usd,
        )


@dataclass(frozen=True, slots=True)
class TurnEnd:
    """How a turn ended: one value, whatever happened. `interrupted` is the reason an interrupt was given."""

    stop_reason: StopReason
    usage: Usage | None = None
    error: TurnError | None = None
    interrupted: str | None = None

    @classmethod
    def failed(cls, kind: ErrorKind, message: str) -> "TurnEnd":
        """A turn that nothing will try again by itself."""
        return cls(StopReason.RETRIES_EXHAUSTED, error=TurnError(kind, message))


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool use as the chat API reports it."""

    tool: str
    input: dict[str, Any]
