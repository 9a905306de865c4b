"""Wake-ups where nobody else is to be woken."""

from collections.abc import Callable

from claude_agent_http.domain.wakeup import Wakeup


class NoWakeups:
    """See `ports.Wakeups`: of a database that one process has for itself."""

    async def start(self, hear: Callable[[Wakeup], None]) -> None: ...

    def tell(self, wakeup: Wakeup) -> None: ...

    async def close(self) -> None: ...
