"""How many sessions the database holds, asked seldom enough for it not to notice."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from claude_agent_http.domain.session import SessionStatus
from claude_agent_http.ports import Clock

__all__ = ["StoredSessions"]

_FRESH_SECONDS = 30.0
_RETRY_SECONDS = 10.0
_ANSWER_SECONDS = 2.0
_log = structlog.get_logger(__name__)


class StoredSessions:
    """Call it for the counts by status: those of the last 30 s, whoever else asks. None when the database
    did not answer within 2 s; then it is asked again after 10 s at the earliest."""

    def __init__(self, count: Callable[[SessionStatus], Awaitable[int]], clock: Clock) -> None:
        self._count = count
        self._clock = clock
        self._asking = asyncio.Lock()
        self._next = clock.monotonic()
        self._last: Mapping[SessionStatus, int] | None = None

    async def __call__(self) -> Mapping[SessionStatus, int] | None:
        async with self._asking:
            if self._clock.monotonic() >= self._next:
                self._last = await self._asked()
                wait = _RETRY_SECONDS if self._last is None else _FRESH_SECONDS
                self._next = self._clock.monotonic() + wait
            return self._last

    async def _asked(self) -> Mapping[SessionStatus, int] | None:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return {status: await self._count(status) for status in SessionStatus}
        except Exception as error:  # A scrape without these numbers is better than none.
            _log.warning("stored sessions not counted", reason=str(error) or "it took too long")
            return None
