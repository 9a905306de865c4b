"""The JSON of requests and responses."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from claude_agent_http.api import fields
from claude_agent_http.domain.event import EventType
from claude_agent_http.domain.session import Session, SessionStatus


class CreateSession(BaseModel):
    """A new session. Creating one calls no model."""

    user_id: fields.UserId
    subdir: fields.Subdir | None = None
    metadata: fields.Metadata | None = None
    session_id: UUID | None = Field(
        default=None,
        description="An id of your choosing; sending the same request again then gives the same session.",
        examples=["6f1ed002-ab5a-4d4c-8f0b-0c6e3a1a7f11"],
    )


class SessionView(BaseModel):
    """A session."""

    session_id: str
    user_id: str
    cwd: str = Field(description="The agent's working folder on the server.")
    created_at: datetime
    last_active_at: datetime
    message_count: int = Field(description="Messages that the user sent.")
    status: SessionStatus = Field(description="A closed session takes no message until it is resumed.")
    metadata: dict[str, Any]

    @classmethod
    def of(cls, session: Session) -> "SessionView":
        return cls(
            session_id=session.id,
            user_id=session.user_id,
            cwd=session.cwd,
            created_at=session.created_at,
            last_active_at=session.last_active_at,
            message_count=session.message_count,
            status=session.status,
            metadata=session.metadata,
        )


class ChatRequest(BaseModel):
    """A message to the agent."""

    session_id: str = Field(max_length=200, examples=["6f1ed002-ab5a-4d4c-8f0b-0c6e3a1a7f11"])
    message: fields.Message
    timeout: fields.Timeout = 120


class ToolCallView(BaseModel):
    tool: str = Field(examples=["Bash"])
    input: dict[str, Any] = Field(examples=[{"command": "ls"}])


class ChatResponse(BaseModel):
    """The agent's answer: its messages of this turn, joined, and the tools that it used."""

    session_id: str
    text: str
    tool_calls: list[ToolCallView]
    timestamp: datetime


class ChatChunk(BaseModel):
    """The JSON of one `data:` line. `text` comes with text_delta, `tool_name` and `tool_input` with
    tool_use, `error` with error; what does not belong to a type is null. `done` and `error` are last."""

    type: Literal["text_delta", "tool_use", "done", "error"]
    text: str | None = None
    tool_name: str | None = None
    tool_input: dict[str, Any] | None = None
    error: str | None = None


class EventView(BaseModel):
    """A fact of a session's log, with the fields of its type beside these."""

    model_config = ConfigDict(extra="allow")

    seq: int = Field(description="Counts the session's events from 1, without gaps.")
    id: str
    type: EventType
    session_id: str
    turn_id: str | None = Field(description="The id of the `user.message` that began the turn.")
    processed_at: datetime


class EventPage(BaseModel):
    """Events in order; `next_page` goes into `page` of the next request, null when these are the last."""

    data: list[EventView]
    next_page: str | None


class Interrupted(BaseModel):
    interrupted: bool = Field(description="False when no turn was running.")


class ErasedUser(BaseModel):
    """What one request removed; all zeros when the user had nothing, or nothing any more."""

    user_id: str
    sessions_deleted: int = Field(description="With their events and conversations.")
    files_deleted: int = Field(description="Files and links in the user's folder.")


class ModelView(BaseModel):
    mode: Literal["demo", "configured", "none"]
    hint: str


class ServiceView(BaseModel):
    """Where things are."""

    name: str
    version: str
    docs: str
    health: str
    model: ModelView


class HealthView(BaseModel):
    """How the service is."""

    status: Literal["healthy", "degraded", "unhealthy"] = Field(
        description="A degraded service works, but turns may fail: an agent process did not start, or no "
        "model is configured."
    )
    version: str
    active_sessions: int
    in_memory_clients: int = Field(description="Agent processes that are connected now.")
    memory_mb: float = Field(description="MiB of the service and its agent processes together.")
    storage_type: str
    uptime_seconds: float
    model: ModelView
    hint: str | None = Field(description="Why the service is not healthy and what to do; null when it is.")


class ProbeView(BaseModel):
    status: Literal["ok"] = "ok"


class FieldError(BaseModel):
    field: str
    message: str


class Problem(BaseModel):
    """An error, as RFC 9457 has it."""

    type: str = Field(examples=["urn:claude-agent-http:problem:busy"])
    title: str
    status: int
    detail: str = Field(description="What is wrong and what to do, in words.")
    instance: str
    errors: Annotated[list[FieldError] | None, Field(description="The fields at fault.")] = None
