"""When keys were used last, written now and then and never while a request waits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import structlog

from claude_agent_http.domain.errors import ClaudeAgentError
from claude_agent_http.ports import ApiKeys

__all__ = ["KeyUse"]

_LAST_SECONDS = 0.5
_log = structlog.get_logger(__name__)


class KeyUse:
    """Each key that was used is written once in `every_seconds`, and what is left at the end."""

    def __init__(self, keys: ApiKeys, *, every_seconds: float = 60.0) -> None:
        self._keys = keys
        self._every_seconds = every_seconds
        self._times: dict[str, datetime] = {}

    def note(self, key_id: str, at: datetime) -> None:
        self._times[key_id] = at

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        keeping = asyncio.create_task(self._keep(), name="last use of API keys")
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.wait({keeping}, timeout=_LAST_SECONDS)
            await self._write_last()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self._every_seconds)
            try:
                await self._write()
            except Exception:
                _log.exception("the last use of API keys could not be stored")

    async def _write(self) -> None:
        times, self._times = self._times, {}
        try:
            await self._keys.used(times)
        except ClaudeAgentError as error:
            # The next use of the key is as good.
            _log.warning("the last use of API keys could not be stored", reason=str(error))

    async def _write_last(self) -> None:
        try:
            async with asyncio.timeout(_LAST_SECONDS):
                await self._write()
        except TimeoutError:
            _log.warning("the last use of API keys was not stored before the end")
