"""How the service is at this moment: what `/health` and `/readyz` are told."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from claude_agent_http.api.info import Health, HealthStatus, ServiceInfo, model_hint
from claude_agent_http.domain.errors import ClaudeAgentError
from claude_agent_http.engine import EngineStats

__all__ = ["HealthCheck"]

# What went wrong stays in the log: whoever reaches the port reads this.
_NO_START = (
    "the last agent process did not start, so messages may fail; the log says why, and `claude-agent-http "
    "doctor` on the service's machine says what to do"
)


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """`ping` raises ClaudeAgentError when the database does not answer; `sessions` counts the active ones."""

    info: ServiceInfo
    storage_type: str
    stats: Callable[[], EngineStats]
    memory: Callable[[], float]
    ping: Callable[[], Awaitable[None]]
    sessions: Callable[[], Awaitable[int]]
    started: float = field(default_factory=time.monotonic)

    async def __call__(self) -> Health:
        try:
            await self.ping()
            sessions = await self.sessions()
        except ClaudeAgentError as error:
            return self._health("unhealthy", str(error), 0)
        hint = self._shortcoming()
        return self._health("healthy" if hint is None else "degraded", hint, sessions)

    async def reason_not_ready(self) -> str | None:
        try:
            await self.ping()
        except ClaudeAgentError as error:
            return str(error)
        return None

    def _shortcoming(self) -> str | None:
        if self.info.model_mode == "none":
            return model_hint("none")
        return None if self.stats().last_start_error is None else _NO_START

    def _health(self, status: HealthStatus, hint: str | None, sessions: int) -> Health:
        return Health(
            status=status,
            version=self.info.version,
            active_sessions=sessions,
            in_memory_clients=self.stats().runtimes,
            memory_mb=self.memory(),
            storage_type=self.storage_type,
            uptime_seconds=round(time.monotonic() - self.started, 1),
            model=self.info.model_mode,
            isolation=self.info.isolation,
            hint=hint,
        )
