"""What a caller is told of how its turn ended."""

from collections.abc import Sequence

from claude_agent_http.api.models import ChatResponse, ToolCallView
from claude_agent_http.api.problems import TurnFailedError
from claude_agent_http.domain.errors import (
    ClaudeAgentError,
    DrainingError,
    SessionNotFoundError,
    TurnTimeoutError,
)
from claude_agent_http.domain.event import Event
from claude_agent_http.domain.turn import ErrorKind, TurnEnd
from claude_agent_http.engine import Turn, answer

__all__ = ["answered", "failure", "stop_reason"]


def answered(turn: Turn, end: TurnEnd, events: Sequence[Event]) -> ChatResponse:
    """The answer of an ended turn. Raises what stands for its failure; a turn that reached `max_turns`
    has an answer when it did anything."""
    said = answer(events, turn.opened.result().processed_at)
    reached_max = end.error is not None and end.error.kind is ErrorKind.MAX_TURNS
    problem = failure(turn, end, 0)
    if problem is not None and not (reached_max and (said.text or said.tool_calls)):
        raise problem
    calls = [ToolCallView(tool=call.tool, input=call.input) for call in said.tool_calls]
    return ChatResponse(
        session_id=turn.session_id, text=said.text, tool_calls=calls, timestamp=said.timestamp
    )


def failure(turn: Turn, end: TurnEnd, seconds: float) -> ClaudeAgentError | TurnFailedError | None:
    """The error that the end of a turn is to who waits for its answer. `seconds` is the caller's timeout."""
    if end.error is not None:
        return TurnFailedError(end.error)
    match end.interrupted:
        case "timeout":
            return TurnTimeoutError(seconds)
        case "shutdown":
            return DrainingError()
        case "session deleted":
            return SessionNotFoundError(turn.session_id)
    return None


def stop_reason(end: TurnEnd) -> str:
    """Why the turn ended, in one word of the `X-Stop-Reason` header."""
    if end.error is not None:
        return end.error.kind.value.removesuffix("_error")
    return "interrupted" if end.interrupted is not None else end.stop_reason.value
