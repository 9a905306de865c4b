"""One service process per Postgres database: a lock that the server gives back when our connection ends."""

import asyncio
from contextlib import suppress
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from claude_agent_http.domain.errors import ServiceLockedError, StorageError
from claude_agent_http.store.errors import translated

# "claude-a" in ASCII: the same in every version, and in no other program by chance.
_KEY = int.from_bytes(b"claude-a")
_TRY = text("SELECT pg_try_advisory_lock(:key)").bindparams(key=_KEY)
_POLL_SECONDS = 0.1


class AdvisoryLock:
    """Held on a connection of its own, taken again when that connection was lost and nobody else took it.

    `engine` must be in AUTOCOMMIT: a transaction that is open for days keeps Postgres from cleaning up.
    """

    def __init__(self, engine: AsyncEngine, name: str, *, wait_seconds: float) -> None:
        self._engine = engine
        self._name = name
        self._wait_seconds = wait_seconds
        self._connection: AsyncConnection | None = None
        self._driver: Any = None
        self._open = False
        self._taken = False
        self._using = asyncio.Lock()

    async def acquire(self) -> None:
        """Raises ServiceLockedError when another process still holds it after the wait."""
        deadline = asyncio.get_running_loop().time() + self._wait_seconds
        async with self._using:
            self._open = True
            while not await self._take():
                if asyncio.get_running_loop().time() > deadline:
                    raise ServiceLockedError(
                        f"{self._name}: another service process uses this database; "
                        "stop it or choose another database"
                    )
                await asyncio.sleep(_POLL_SECONDS)

    async def check(self) -> None:
        """Free while the lock is held. Raises ServiceLockedError when another process took over."""
        if not self._holds:
            async with self._using:
                await self._retake()

    async def ping(self, seconds: float) -> None:
        """Ask the server for a sign of life; a connection that gives none in time counts as lost."""
        async with self._using:
            if self._holds and self._connection is not None:
                with translated(self._name), suppress(DBAPIError):
                    await self._ask(self._connection, seconds)
            await self._retake()

    async def _ask(self, connection: AsyncConnection, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await connection.execute(text("SELECT 1"))
        except TimeoutError:
            self._driver.terminate()
            raise

    async def release(self) -> None:
        async with self._using:
            self._open = False
            with translated(self._name):
                await self._disconnect()
                await self._engine.dispose()

    @property
    def _holds(self) -> bool:
        return self._taken and not self._driver.is_closed()

    async def _retake(self) -> None:
        if not self._open:
            raise StorageError(f"{self._name}: the store is closed")
        if not self._holds and not await self._take():
            raise ServiceLockedError(
                f"{self._name}: another service process took this database over while the connection "
                "was lost; stop one of the two"
            )

    async def _take(self) -> bool:
        with translated(self._name):
            connection = await self._connected()
            self._taken = bool((await connection.execute(_TRY)).scalar_one())
        return self._taken

    async def _connected(self) -> AsyncConnection:
        if self._connection is None or self._driver.is_closed():
            await self._disconnect()
            self._connection = await self._engine.connect()
            self._driver = (await self._connection.get_raw_connection()).driver_connection
        return self._connection

    async def _disconnect(self) -> None:
        connection, self._connection, self._taken = self._connection, None, False
        if connection is not None:
            if self._driver.is_closed():
                await connection.invalidate()
            await connection.close()
