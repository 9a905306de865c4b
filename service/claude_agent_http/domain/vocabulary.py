"""The shape of every event, in one place: builders of NewEvent in the words of the Managed Agents API."""

from typing import Any

from claude_agent_http.domain.event import EventType, NewEvent
from claude_agent_http.domain.turn import StopReason, TurnError, Usage

Content = list[dict[str, Any]]


def text_content(text: str) -> Content:
    return [{"type": "text", "text": text}]


def text_of(data: dict[str, Any]) -> str:
    """The text of a message event's `content`."""
    return "".join(block["text"] for block in data.get("content", ()) if block.get("type") == "text")


def user_message(event_id: str, text: str) -> NewEvent:
    """Opens a turn, so its own id is its turn's."""
    return NewEvent(event_id, EventType.USER_MESSAGE, {"content": text_content(text)}, event_id)


def user_interrupt(event_id: str, turn_id: str, reason: str) -> NewEvent:
    return NewEvent(event_id, EventType.USER_INTERRUPT, {"reason": reason}, turn_id)


def status_running(event_id: str, turn_id: str) -> NewEvent:
    return NewEvent(event_id, EventType.STATUS_RUNNING, {}, turn_id)


def status_idle(
    event_id: str, turn_id: str | None, stop_reason: StopReason, interrupted: str | None = None
) -> NewEvent:
    """`interrupted` says why a turn was cut short: the Managed Agents API calls that `end_turn` too."""
    reason: dict[str, Any] = {"type": stop_reason.value}
    if interrupted is not None:
        reason["interrupted"] = interrupted
    return NewEvent(event_id, EventType.STATUS_IDLE, {"stop_reason": reason}, turn_id)


def status_rescheduled(event_id: str, turn_id: str) -> NewEvent:
    """What the turn did so far counts no more: it is run again from its message."""
    return NewEvent(event_id, EventType.STATUS_RESCHEDULED, {}, turn_id)


def session_error(
    event_id: str, turn_id: str | None, error: TurnError, *, retrying: bool = False
) -> NewEvent:
    retry_status = {"type": "retrying" if retrying else "exhausted"}
    body = {"type": error.kind.value, "message": error.message, "retry_status": retry_status}
    return NewEvent(event_id, EventType.SESSION_ERROR, {"error": body}, turn_id)


def session_usage(event_id: str, turn_id: str, usage: Usage) -> NewEvent:
    """Usage of this one turn; sums over a session are queries."""
    return NewEvent(event_id, EventType.SESSION_USAGE, {"usage": usage_body(usage)}, turn_id)


def usage_body(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_input_tokens": usage.cache_read_input_tokens,
        "cache_creation_input_tokens": usage.cache_creation_input_tokens,
        "cost_usd": usage.cost_usd,
    }


def agent_message(event_id: str, turn_id: str, text: str, parent: str | None = None) -> NewEvent:
    """`parent` is the tool_use_id of the subagent's call that wrote it, None for the agent itself."""
    return NewEvent(
        event_id, EventType.AGENT_MESSAGE, _with_parent({"content": text_content(text)}, parent), turn_id
    )


def agent_thinking(event_id: str, turn_id: str, thinking: str, parent: str | None = None) -> NewEvent:
    return NewEvent(event_id, EventType.AGENT_THINKING, _with_parent({"thinking": thinking}, parent), turn_id)


def agent_tool_use(
    event_id: str,
    turn_id: str,
    tool_use_id: str,
    name: str,
    tool_input: dict[str, Any],
    parent: str | None = None,
) -> NewEvent:
    """An MCP tool's name is `mcp__<server>__<tool>` to the CLI; the event names server and tool apart."""
    named = _named(name)
    kind = EventType.AGENT_MCP_TOOL_USE if "mcp_server_name" in named else EventType.AGENT_TOOL_USE
    data = {"tool_use_id": tool_use_id, **named, "input": tool_input}
    return NewEvent(event_id, kind, _with_parent(data, parent), turn_id)


def agent_tool_started(event_id: str, turn_id: str, tool_use_id: str, name: str) -> NewEvent:
    return NewEvent(
        event_id, EventType.AGENT_TOOL_STARTED, {"tool_use_id": tool_use_id, **_named(name)}, turn_id
    )


def agent_tool_result(
    event_id: str,
    turn_id: str,
    tool_use_id: str,
    content: Content,
    *,
    is_error: bool,
    mcp: bool = False,
    parent: str | None = None,
) -> NewEvent:
    kind = EventType.AGENT_MCP_TOOL_RESULT if mcp else EventType.AGENT_TOOL_RESULT
    data = {"tool_use_id": tool_use_id, "content": content, "is_error": is_error}
    return NewEvent(event_id, kind, _with_parent(data, parent), turn_id)


def context_compacted(event_id: str, turn_id: str) -> NewEvent:
    return NewEvent(event_id, EventType.CONTEXT_COMPACTED, {}, turn_id)


def model_request_start(event_id: str, turn_id: str, model: str) -> NewEvent:
    return NewEvent(event_id, EventType.MODEL_REQUEST_START, {"model": model}, turn_id)


def model_request_end(
    event_id: str, turn_id: str, start_id: str, usage: Usage, *, is_error: bool
) -> NewEvent:
    data = {"model_request_start_id": start_id, "is_error": is_error, "model_usage": usage_body(usage)}
    return NewEvent(event_id, EventType.MODEL_REQUEST_END, data, turn_id)


def split_mcp_name(name: str) -> tuple[str | None, str]:
    """`mcp__github__search` -> ("github", "search"); any other name -> (None, name)."""
    if not name.startswith("mcp__"):
        return None, name
    server, _, tool = name.removeprefix("mcp__").partition("__")
    return (server, tool) if tool else (None, name)


def tool_name(data: dict[str, Any]) -> str:
    """The name the CLI knows the tool by, from a tool use event's data."""
    server = data.get("mcp_server_name")
    return f"mcp__{server}__{data['name']}" if server else str(data["name"])


def _named(name: str) -> dict[str, str]:
    """How a tool's events name it."""
    server, tool = split_mcp_name(name)
    return {"name": tool} if server is None else {"name": tool, "mcp_server_name": server}


def _with_parent(data: dict[str, Any], parent: str | None) -> dict[str, Any]:
    return data if parent is None else data | {"parent_tool_use_id": parent}
