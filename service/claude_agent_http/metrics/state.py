"""How the service is at the moment of a scrape."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from claude_agent_http.domain.session import SessionStatus
from claude_agent_http.engine import EngineStats

__all__ = ["Look", "ServiceState", "ServiceView"]

Stored = Mapping[SessionStatus, int]


@dataclass(frozen=True, slots=True)
class ServiceState:
    """`stored` is None while the database does not answer; `leases` and `replicas` where there are none."""

    stats: EngineStats
    memory_mb: float
    stored: Stored | None
    leases: int | None = None
    replicas: int | None = None


Look = Callable[[], Awaitable[ServiceState]]


@dataclass(frozen=True, slots=True)
class ServiceView:
    """Call it for the state. `stored` never raises; `leases` and `replicas` count what this replica holds
    and sees, where sessions have leases."""

    stats: Callable[[], EngineStats]
    memory: Callable[[], float]
    stored: Callable[[], Awaitable[Stored | None]]
    leases: Callable[[], int] | None = None
    replicas: Callable[[], int] | None = None

    async def __call__(self) -> ServiceState:
        stored = await self.stored()
        return ServiceState(
            self.stats(),
            self.memory(),
            stored,
            self.leases() if self.leases else None,
            self.replicas() if self.replicas else None,
        )
