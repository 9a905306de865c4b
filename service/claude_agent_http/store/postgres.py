"""Postgres: a pool of asyncpg connections, and one more that holds the service's lock."""

import asyncio
from contextlib import suppress
from typing import Any, TypeVar
from weakref import WeakSet

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from claude_agent_http.domain.errors import StorageError
from claude_agent_http.store.advisory_lock import AdvisoryLock
from claude_agent_http.store.database import START_SECONDS, Work
from claude_agent_http.store.errors import LostConnectionError, UnreachableError, translated
from claude_agent_http.store.postgres_address import PostgresAddress

T = TypeVar("T")

# A rolling restart starts the next process before this one has ended.
_LOCK_SECONDS = 10.0
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0
_CONNECT_SECONDS = 5.0
_STATEMENT_SECONDS = 10.0
_PING_SECONDS = 2.0
_CLOSE_SECONDS = 1.0
_SIGN_OF_LIFE_SECONDS = 1.5


class PostgresDatabase:
    """`start_seconds`: how long to try while the server starts; `lock_seconds`: how long to wait for another
    process to give the database up."""

    def __init__(
        self,
        address: PostgresAddress,
        *,
        pool_size: int = 10,
        start_seconds: float = START_SECONDS,
        lock_seconds: float = _LOCK_SECONDS,
    ) -> None:
        self._name = str(address)
        self._start_seconds = start_seconds
        arguments = address.connect_arguments() | {"timeout": _CONNECT_SECONDS}
        limited = arguments | {"command_timeout": _STATEMENT_SECONDS}
        self._engine = _engine(
            address,
            limited,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=_STATEMENT_SECONDS,
            pool_pre_ping=True,  # one round trip, so that a connection dropped while idle is never seen
        )
        # A migration may take longer than any statement of the service.
        self._patient = _engine(address, arguments, poolclass=NullPool)
        lock_engine = _engine(address, limited, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        self._connections: WeakSet[Any] = WeakSet()
        for engine in (self._engine, self._patient, lock_engine):
            event.listen(engine.sync_engine, "connect", self._watch)
        self._lock = AdvisoryLock(lock_engine, self._name, wait_seconds=lock_seconds)

    async def connect(self, *, exclusive: bool = True) -> None:
        await self._wait_for_server()
        if exclusive:
            await self._lock.acquire()

    async def _wait_for_server(self) -> None:
        """Try again while the server starts, with growing pauses."""
        deadline = asyncio.get_running_loop().time() + self._start_seconds
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                with translated(self._name):
                    async with self._engine.connect():
                        return
            except (UnreachableError, LostConnectionError) as error:
                if asyncio.get_running_loop().time() + pause > deadline:
                    raise StorageError(f"{error} (tried for {self._start_seconds:g} s)") from error
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    async def migrate(self, work: Work[T]) -> T:
        return await self._transact(self._patient, work)

    async def read(self, work: Work[T]) -> T:
        return await self._run(work, repeatable=True)

    async def write(self, work: Work[T], *, repeatable: bool = False) -> T:
        await self._lock.check()
        return await self._run(work, repeatable=repeatable)

    async def ping(self) -> None:
        # Not from the pool: a busy service is no reason to call the database dead.
        with translated(self._name):
            async with asyncio.timeout(_PING_SECONDS):
                await self._lock.ping(_SIGN_OF_LIFE_SECONDS)

    async def close(self) -> None:
        """Politely, but a server that does not answer gets no more than its time: it gives the lock back
        when it finds the connection gone. Whatever still waits for it fails at once."""
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await self._engine.dispose()
                    await self._patient.dispose()
                    await self._lock.release()
        finally:
            for connection in list(self._connections):
                connection.terminate()

    def _watch(self, adapted: Any, _record: object) -> None:
        self._connections.add(adapted.driver_connection)

    async def _run(self, work: Work[T], *, repeatable: bool) -> T:
        try:
            return await self._transact(self._engine, work)
        except LostConnectionError:
            if not repeatable:
                raise
        return await self._transact(self._engine, work)

    async def _transact(self, engine: AsyncEngine, work: Work[T]) -> T:
        with translated(self._name):
            async with engine.begin() as connection:
                return await connection.run_sync(work)


def _engine(address: PostgresAddress, arguments: dict[str, Any], **options: Any) -> AsyncEngine:
    """Values are hidden in errors: they are users' texts."""
    return create_async_engine(address.url, connect_args=arguments, hide_parameters=True, **options)
