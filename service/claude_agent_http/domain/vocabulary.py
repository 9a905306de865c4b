"""The shape of every event, in one place: builders of NewEvent in the words of the Managed Agents API."""

from dataclasses import fields
from datetime import datetime
from typing import Any

from claude_agent_http.domain.approval import Approval, AskedTool, DecidedBy, Decision
from claude_agent_http.domain.event import Event, EventType, NewEvent
from claude_agent_http.domain.turn import StopReason, TurnError, Usage

Content = list[dict[str, Any]]


def text_content(text: str) -> Content:
    return [{"type": "text", "text": text}]


def text_of(data: dict[str, Any]) -> str:
    """The text of a message event's `content`."""
    return "".join(block["text"] for block in data.get("content", ()) if block.get("type") == "text")


def user_message(event_id: str, text: str, timeout: float | None = None) -> NewEvent:
    """Opens a turn, so its own id is its turn's. `timeout`: the seconds that the turn may take from now on,
    whoever runs it."""
    data: dict[str, Any] = {"content": text_content(text)}
    if timeout is not None:
        data["timeout_seconds"] = round(timeout, 3)
    return NewEvent(event_id, EventType.USER_MESSAGE, data, event_id)


def timeout_of(data: dict[str, Any], most: float) -> float:
    """The seconds that the turn of a `user.message` may take; `most` at most, and where it does not say."""
    return min(float(data.get("timeout_seconds", most)), most)


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


def usage_of(body: dict[str, Any]) -> Usage:
    """The inverse of `usage_body`. What only a newer version counts is left out."""
    known = {field.name for field in fields(Usage)}
    return Usage(**{name: count for name, count in body.items() if name in known})


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


def tool_approval_requested(event_id: str, turn_id: str, asked: AskedTool, expires_at: datetime) -> NewEvent:
    """The tool does not run, whatever was said of it before, until this is decided. Its id names it."""
    data = {
        "tool_use_id": asked.tool_use_id,
        **_named(asked.name),
        "input": asked.input,
        "evaluated_permission": "ask",
        "expires_at": expires_at.isoformat().replace("+00:00", "Z"),
    }
    if asked.reason is not None:
        data["reason"] = asked.reason
    return NewEvent(event_id, EventType.TOOL_APPROVAL_REQUESTED, data, turn_id)


def approval_of(event: Event) -> Approval:
    """What `tool_approval_requested` was given."""
    data = event.data
    asked = AskedTool(data["tool_use_id"], tool_name(data), data["input"], data.get("reason"))
    expires_at = datetime.fromisoformat(data["expires_at"])
    return Approval(event.id, event.turn_id, asked, event.processed_at, expires_at)


def tool_confirmation(
    approval_id: str,
    turn_id: str | None,
    tool_use_id: str,
    decision: Decision,
    reason: str | None = None,
    decided_by: DecidedBy = DecidedBy.USER,
) -> NewEvent:
    """Its id is made of the approval's: whoever stores it first has decided, the log takes no other."""
    data = {
        "approval_id": approval_id,
        "tool_use_id": tool_use_id,
        "result": decision.value,
        "decided_by": decided_by.value,
    }
    if reason is not None:
        data["deny_message" if decision is Decision.DENY else "allow_message"] = reason
    return NewEvent(f"{approval_id}_decision", EventType.USER_TOOL_CONFIRMATION, data, turn_id)


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
