"""How a turn ended, read from the CLI's result message. Pure."""

from dataclasses import replace
from typing import Any

from claude_agent_sdk import AssistantMessage, ResultMessage

from claude_agent_http.domain.turn import ErrorKind, StopReason, TurnEnd, TurnError, Usage

__all__ = ["REFUSABLE", "api_error", "refused", "turn_end", "usage"]

REFUSABLE = frozenset({ErrorKind.MODEL_AUTHENTICATION, ErrorKind.MODEL_REQUEST_FAILED})
"""How the CLI's own words for a refusal are understood."""
_MAX_MESSAGE = 2000
_KINDS = {
    "rate_limit": ErrorKind.MODEL_RATE_LIMITED,
    "overloaded": ErrorKind.MODEL_OVERLOADED,
    "authentication_failed": ErrorKind.MODEL_AUTHENTICATION,
}


def turn_end(result: ResultMessage, error: TurnError | None, cost_before: float) -> TurnEnd:
    """`cost_before` in USD is what the CLI had already counted: its total grows from turn to turn."""
    spent = usage(result.usage, _cost(result.total_cost_usd, cost_before))
    if (result.terminal_reason or "").startswith("aborted"):
        return TurnEnd(StopReason.END_TURN, spent, interrupted="interrupt")
    if error is not None:
        return TurnEnd(StopReason.RETRIES_EXHAUSTED, spent, error)
    match result.subtype:
        case "error_max_budget_usd":
            return TurnEnd(StopReason.BUDGET_REACHED, spent)
        case "error_max_turns":
            message = "the turn needed more model calls than max_turns allows; send a message to go on"
            return TurnEnd(StopReason.END_TURN, spent, TurnError(ErrorKind.MAX_TURNS, message))
        case "success":
            refused = result.stop_reason == "refusal"
            return TurnEnd(StopReason.REFUSAL if refused else StopReason.END_TURN, spent)
    return TurnEnd(StopReason.END_TURN, spent, TurnError(ErrorKind.MODEL_REQUEST_FAILED, _text(result)))


def refused(end: TurnEnd, refusal: TurnError) -> TurnEnd:
    """The end of a turn whose last request our own gateway refused: the CLI has other words for that."""
    reason = StopReason.RETRIES_EXHAUSTED
    if refusal.kind is not ErrorKind.MODEL_NOT_ALLOWED:
        reason = StopReason.BUDGET_REACHED
    return replace(end, stop_reason=reason, error=refusal)


def api_error(result: ResultMessage, said: AssistantMessage | None) -> TurnError | None:
    """The model API's failure: its HTTP status, or the word the CLI has for it where no answer came."""
    if not result.is_error or result.subtype != "success":
        return None
    word = said.error if said is not None else None
    return TurnError(_kind(result.api_error_status, word), _text(result))


def usage(counts: dict[str, Any] | None, cost_usd: float | None = None) -> Usage | None:
    if counts is None:
        return None
    return Usage(
        input_tokens=int(counts.get("input_tokens") or 0),
        output_tokens=int(counts.get("output_tokens") or 0),
        cache_read_input_tokens=int(counts.get("cache_read_input_tokens") or 0),
        cache_creation_input_tokens=int(counts.get("cache_creation_input_tokens") or 0),
        cost_usd=cost_usd,
    )


def _kind(status: int | None, word: str | None) -> ErrorKind:
    match status:
        case 429:
            return ErrorKind.MODEL_RATE_LIMITED
        case 529:
            return ErrorKind.MODEL_OVERLOADED
        case 401 | 403:
            return ErrorKind.MODEL_AUTHENTICATION
        case None:
            return _KINDS.get(word or "", ErrorKind.MODEL_REQUEST_FAILED)
    return ErrorKind.MODEL_REQUEST_FAILED


def _cost(total: float | None, before: float) -> float | None:
    """A total below the last one means that the CLI began to count anew."""
    if total is None:
        return None
    return total - before if total >= before else total


def _text(result: ResultMessage) -> str:
    text = "; ".join(result.errors or ()) or result.result or result.subtype
    return text[:_MAX_MESSAGE]
