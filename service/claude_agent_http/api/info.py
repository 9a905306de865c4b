"""What the service says about itself; the composition root fills it in."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from claude_agent_http.api.files_port import WorkspaceFiles
from claude_agent_http.engine import AuditTrail, Engine, KeyRing

__all__ = [
    "Health",
    "HealthStatus",
    "IsolationInfo",
    "ModelMode",
    "Parts",
    "ReasonNotReady",
    "ServiceInfo",
    "model_hint",
]

ModelMode = Literal["demo", "configured", "none"]
HealthStatus = Literal["healthy", "degraded", "unhealthy"]

_HINTS: dict[ModelMode, str] = {
    "demo": (
        "no model key is set, so a scripted demo model answers; set ANTHROPIC_API_KEY, or "
        "ANTHROPIC_AUTH_TOKEN and ANTHROPIC_BASE_URL, and start the service again to use a real one"
    ),
    "configured": "the model that the service's configuration names answers",
    "none": (
        "no model is configured and the demo model is off, so every turn fails; set ANTHROPIC_API_KEY, or "
        "ANTHROPIC_AUTH_TOKEN and ANTHROPIC_BASE_URL, or CLAUDE_AGENT_MODEL_DEMO=on for scripted answers, "
        "and start the service again"
    ),
}


@dataclass(frozen=True, slots=True)
class IsolationInfo:
    """`landlock` is the kernel's ABI, 0 for none; `missing` what agents can do beyond what a jail is for."""

    mode: str = "off"
    landlock: int = 0
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServiceInfo:
    """What stays the same while the process lives."""

    version: str
    model_mode: ModelMode
    isolation: IsolationInfo = IsolationInfo()
    name: str = "claude-agent-http"


@dataclass(frozen=True, slots=True)
class Health:
    """The service at one moment. `memory_mb` is MiB of the service and its agent processes together,
    `in_memory_clients` the connected agent processes, `uptime_seconds` since the start. A degraded service
    works, but turns may fail; `hint` says why it is not healthy and what to do."""

    status: HealthStatus
    version: str
    active_sessions: int
    in_memory_clients: int
    memory_mb: float
    storage_type: str
    uptime_seconds: float
    model: ModelMode
    isolation: IsolationInfo
    hint: str | None = None


ReasonNotReady = Callable[[], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes work with."""

    engine: Engine
    info: ServiceInfo
    health: Callable[[], Awaitable[Health]]
    ready: ReasonNotReady
    files: WorkspaceFiles
    keys: KeyRing
    audit: AuditTrail


def model_hint(mode: ModelMode) -> str:
    """What to do to have a real model answer, for people who read `/health`."""
    return _HINTS[mode]
