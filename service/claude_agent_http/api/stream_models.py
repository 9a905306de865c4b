"""What the event stream carries beside the log's events, as the OpenAPI document describes it."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

__all__ = ["EVENT_STREAM_MODELS"]


class StartedEvent(BaseModel):
    id: str
    type: Literal["agent.message", "agent.thinking"]


class EventStart(BaseModel):
    """An event is being written; it will come whole under this id, or be withdrawn."""

    type: Literal["event_start"]
    event: StartedEvent


class EventDelta(BaseModel):
    """A piece of an event that is being written; `offset` counts the characters before it."""

    type: Literal["event_delta"]
    event_id: str
    offset: int = Field(ge=0)
    delta: dict[str, Any]


class EventWithdrawn(BaseModel):
    """An event that was being written will not come."""

    type: Literal["event_withdrawn"]
    event_id: str


class SessionDeletedView(BaseModel):
    """The last message of a deleted session's stream; no log holds it."""

    id: str
    type: Literal["session.deleted"]
    session_id: str
    turn_id: None
    processed_at: datetime


EVENT_STREAM_MODELS = (EventStart, EventDelta, EventWithdrawn, SessionDeletedView)
