"""What the engine needs of the world. Each port has a fake beside its real implementations, and one
behavioural suite runs over all of them."""

from claude_agent_http.ports.callers import Authenticator
from claude_agent_http.ports.clock import Clock, Ids
from claude_agent_http.ports.disk import DiskGauge, Workspaces
from claude_agent_http.ports.records import ApiKeys, AuditLog, UsageStore
from claude_agent_http.ports.replicas import Leases, Wakeups
from claude_agent_http.ports.runtime import (
    AgentRuntime,
    ModelAccess,
    ModelGrant,
    RuntimeFactory,
    RuntimeItem,
    ToolAsk,
    ToolGate,
)
from claude_agent_http.ports.sessions import EventLog, SessionStore
from claude_agent_http.ports.store import Store
from claude_agent_http.ports.telemetry import Telemetry
from claude_agent_http.ports.transcripts import TranscriptEntry, TranscriptKey, TranscriptStore

__all__ = [
    "AgentRuntime",
    "ApiKeys",
    "AuditLog",
    "Authenticator",
    "Clock",
    "DiskGauge",
    "EventLog",
    "Ids",
    "Leases",
    "ModelAccess",
    "ModelGrant",
    "RuntimeFactory",
    "RuntimeItem",
    "SessionStore",
    "Store",
    "Telemetry",
    "ToolAsk",
    "ToolGate",
    "TranscriptEntry",
    "TranscriptKey",
    "TranscriptStore",
    "UsageStore",
    "Wakeups",
    "Workspaces",
]
