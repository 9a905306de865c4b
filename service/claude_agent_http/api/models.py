"""The JSON of requests and responses."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from claude_agent_http.api import fields
from claude_agent_http.domain.approval import Approval, DecidedBy, Decision
from claude_agent_http.domain.event import Event, EventType
from claude_agent_http.domain.file import FileEntry, FileKind
from claude_agent_http.domain.session import Session, SessionStatus


class CreateSession(BaseModel):
    """A new session. Creating one calls no model."""

    user_id: fields.UserId | None = Field(
        default=None,
        description="Whose session it will be; may be left out where the credential is a user's own.",
        examples=["alice"],
    )
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


class SessionDetail(SessionView):
    """A session, with what it waits for."""

    pending_approvals: list[str] = Field(description="Ids of the tools that wait to be allowed.")

    @classmethod
    def waiting(cls, session: Session, approvals: Sequence[Approval]) -> "SessionDetail":
        fields = SessionView.of(session).model_dump()
        return cls(**fields, pending_approvals=[approval.id for approval in approvals])


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


class ApprovalChunk(BaseModel):
    """Like a `ChatChunk`, while a tool waits to be allowed. Where agents do not ask, there is none."""

    type: Literal["approval_required"] = "approval_required"
    text: None = None
    tool_name: str
    tool_input: dict[str, Any]
    error: None = None
    approval_id: str = Field(description="Goes into POST .../approvals/{approval_id}.")


class ApprovalView(BaseModel):
    """A tool that waits to be allowed."""

    id: str
    tool_use_id: str
    tool: str = Field(examples=["Bash"])
    input: dict[str, Any] = Field(examples=[{"command": "rm -r build"}])
    reason: str | None = Field(description="Why the agent asks, in its words; null when it says nothing.")
    requested_at: datetime
    expires_at: datetime = Field(description="Then it is denied.")

    @classmethod
    def of(cls, approval: Approval) -> "ApprovalView":
        tool = approval.tool
        return cls(
            id=approval.id,
            tool_use_id=tool.tool_use_id,
            tool=tool.name,
            input=tool.input,
            reason=tool.reason,
            requested_at=approval.requested_at,
            expires_at=approval.expires_at,
        )


class ApprovalPage(BaseModel):
    data: list[ApprovalView]


class DecisionRequest(BaseModel):
    decision: Decision = Field(examples=["allow"])
    reason: fields.Reason | None = None


class DecisionView(BaseModel):
    """How it was decided, now or before."""

    id: str
    decision: Decision
    reason: str | None
    decided_by: DecidedBy
    decided_at: datetime

    @classmethod
    def of(cls, confirmation: Event) -> "DecisionView":
        data = confirmation.data
        return cls(
            id=data["approval_id"],
            decision=data["result"],
            reason=data.get("deny_message", data.get("allow_message")),
            decided_by=data["decided_by"],
            decided_at=confirmation.processed_at,
        )


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


class FileView(BaseModel):
    """What stands at one path of a session's folder."""

    path: str = Field(description="Relative to the session's folder.", examples=["src/main.py"])
    type: FileKind
    size: int = Field(description="Bytes.")
    modified_at: datetime

    @classmethod
    def of(cls, entry: FileEntry) -> "FileView":
        return cls(path=entry.path, type=entry.kind, size=entry.size, modified_at=entry.modified_at)


class FilePage(BaseModel):
    """Files in the order of their paths; `next_page` goes into `page` of the next one, null at the end."""

    data: list[FileView]
    next_page: str | None
    truncated: bool = Field(description="A folder is too large, or too deep, to be listed whole.")


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


class IsolationView(BaseModel):
    """What holds agents to what is theirs."""

    mode: Literal["required", "preferred", "off"]
    landlock: int = Field(description="The kernel's Landlock ABI; 0 where it has none.")
    missing: list[str] = Field(description="What agents can do beyond what a jail is for.")


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
    isolation: IsolationView
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
