"""Events: the immutable facts of a session. The event log is the truth, every other view a query of it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class EventType(StrEnum):
    """Names of Anthropic's Managed Agents API; ours, in the same style, are `agent.tool_started` and
    `agent.tool_approval_requested`."""

    USER_MESSAGE = "user.message"
    USER_INTERRUPT = "user.interrupt"
    USER_TOOL_CONFIRMATION = "user.tool_confirmation"
    AGENT_MESSAGE = "agent.message"
    AGENT_THINKING = "agent.thinking"
    AGENT_TOOL_USE = "agent.tool_use"
    TOOL_APPROVAL_REQUESTED = "agent.tool_approval_requested"
    AGENT_TOOL_STARTED = "agent.tool_started"
    AGENT_TOOL_RESULT = "agent.tool_result"
    AGENT_MCP_TOOL_USE = "agent.mcp_tool_use"
    AGENT_MCP_TOOL_RESULT = "agent.mcp_tool_result"
    CONTEXT_COMPACTED = "agent.thread_context_compacted"
    STATUS_RUNNING = "session.status_running"
    STATUS_IDLE = "session.status_idle"
    STATUS_RESCHEDULED = "session.status_rescheduled"
    STATUS_TERMINATED = "session.status_terminated"
    SESSION_ERROR = "session.error"
    SESSION_USAGE = "session.usage"
    SESSION_DELETED = "session.deleted"
    MODEL_REQUEST_START = "span.model_request_start"
    MODEL_REQUEST_END = "span.model_request_end"

    @classmethod
    def told(cls, name: str) -> "EventType":
        """The type of this name. One that only a newer version knows is like no other, and keeps its name."""
        if name in cls._value2member_map_:
            return cls(name)
        unknown = str.__new__(cls, name)
        unknown._name_ = unknown._value_ = name
        return unknown


TOOL_USES = frozenset({EventType.AGENT_TOOL_USE, EventType.AGENT_MCP_TOOL_USE})


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event before the log has given it its `seq`.

    `id` is unique in the service (`sevt_...`); `turn_id` names the turn it belongs to (the id of that
    turn's `user.message`), None outside turns; `data` holds the fields of its type, JSON only.
    """

    id: str
    type: EventType
    data: dict[str, Any]
    turn_id: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """A stored event. `seq` counts a session's events from 1 without gaps; `processed_at` is UTC."""

    session_id: str
    seq: int
    id: str
    type: EventType
    data: dict[str, Any]
    turn_id: str | None
    processed_at: datetime


@dataclass(frozen=True, slots=True)
class Delta:
    """A transient piece of a message that is still being written; never stored.

    `event_id` is the id that the whole `agent.message` (or `agent.thinking`) will have; `offset` is the
    number of characters of it before `text`.
    """

    session_id: str
    event_id: str
    event_type: EventType
    offset: int
    text: str


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A message that was being written and will not come: its deltas count no more. Never stored."""

    session_id: str
    event_id: str


@dataclass(frozen=True, slots=True)
class SessionDeleted:
    """The last that a follower hears of a deleted session; never stored, for the log is gone too."""

    session_id: str
    event_id: str
    processed_at: datetime


Followed = Event | Delta | Withdrawn | SessionDeleted
"""What a follower of a session gets."""
