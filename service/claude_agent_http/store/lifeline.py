"""A connection of its own for what keeps the service alive, and another one when that falls silent."""

import asyncio
from typing import Any, Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine

from claude_agent_http.store.database import Work
from claude_agent_http.store.errors import translated

__all__ = ["LIFELINE_POOL", "Lifeline"]

T = TypeVar("T")

_MOST_TRIES = 4
LIFELINE_POOL: dict[str, Any] = {"pool_size": 1, "max_overflow": _MOST_TRIES - 1, "pool_timeout": 10.0}
"""One connection is kept. None is asked before its use whether it lives: that question could hang too."""


class Lifeline:
    """The way that a connection goes may be gone (a node, a firewall's memory) while a new one reaches the
    server at once; or the server is just slow, and the first will be answered first. So neither is waited for
    alone. `engine` has a LIFELINE_POOL."""

    def __init__(self, engine: AsyncEngine, name: str) -> None:
        self._engine = engine
        self._name = name

    async def run(self, work: Work[T], patience: float) -> T:
        """What the first transaction to end returns; one more begins each `patience` seconds, and when the
        first one fails. Raises StorageError when all that have begun fail."""
        tries = [_Try(self._engine, work)]
        try:
            while True:
                pending = {each.task for each in tries if not each.task.done()}
                done, pending = await asyncio.wait(
                    pending, timeout=patience, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    if task.exception() is None or (not pending and len(tries) > 1):
                        with translated(self._name):
                            return task.result()
                if len(tries) < _MOST_TRIES:
                    tries.append(_Try(self._engine, work))
        finally:
            await _end(tries)


class _Try(Generic[T]):
    """One transaction, and the driver's connection that it goes over."""

    def __init__(self, engine: AsyncEngine, work: Work[T]) -> None:
        self._connection: Any = None
        self.task = asyncio.create_task(self._run(engine, work), name="lifeline")

    async def _run(self, engine: AsyncEngine, work: Work[T]) -> T:
        async with engine.begin() as connection:
            self._connection = (await connection.get_raw_connection()).driver_connection
            return await connection.run_sync(work)

    def end(self) -> None:
        if self.task.done():
            return
        if self._connection is not None:  # else it says goodbye for 2 s to whoever does not hear
            self._connection.terminate()
        self.task.cancel()


async def _end(tries: list[_Try[T]]) -> None:
    for each in tries:
        each.end()
    await asyncio.gather(*(each.task for each in tries), return_exceptions=True)
