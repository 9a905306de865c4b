"""Postgres: a pool of asyncpg connections, and a few more for what must not wait behind others."""

import asyncio
from contextlib import suppress
from typing import Any, TypeVar
from weakref import WeakSet

from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from claude_agent_http.domain.errors import ServiceLockedError, StorageError
from claude_agent_http.store.database import START_SECONDS, Work
from claude_agent_http.store.errors import LostConnectionError, UnreachableError, translated
from claude_agent_http.store.pooler import NAMELESS_STATEMENTS, refuse_pooler
from claude_agent_http.store.postgres_address import PostgresAddress

T = TypeVar("T")

# "claude-a" in ASCII: the same in every version, and in no other program by chance. Who looks at the schema
# takes it for a transaction; versions before leases held it for their whole life.
_SCHEMA_LOCK = text("SELECT pg_try_advisory_xact_lock(:key)").bindparams(key=int.from_bytes(b"claude-a"))
_LOCK_SECONDS = 60.0
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0
_CONNECT_SECONDS = 5.0
_STATEMENT_SECONDS = 10.0
_ABANDONED_SECONDS = 10.0
_PING_SECONDS = 2.0
_CLOSE_SECONDS = 1.0
_URGENT_POOL_SIZE = 2


class PostgresDatabase:
    """`direct` is the server's own address where `address` is that of a pooler. `start_seconds`: how long to
    try while the server starts; `lock_seconds`: how long to wait for another process that changes the schema;
    `abandoned_seconds`: how long a transaction keeps its locks when nothing more comes from its host, which
    may be dead or paused."""

    is_shared = True

    def __init__(
        self,
        address: PostgresAddress,
        direct: PostgresAddress | None = None,
        *,
        pool_size: int = 10,
        start_seconds: float = START_SECONDS,
        lock_seconds: float = _LOCK_SECONDS,
        abandoned_seconds: float = _ABANDONED_SECONDS,
    ) -> None:
        self._name = str(address)
        self._direct = direct
        server = direct or address
        self._pooled = server.url != address.url
        self._start_seconds = start_seconds
        arguments = server.connect_arguments() | {"timeout": _CONNECT_SECONDS}
        limited = arguments | {"command_timeout": _STATEMENT_SECONDS}
        self._engine = _engine(
            address,
            limited | address.connect_arguments() | (NAMELESS_STATEMENTS if self._pooled else {}),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=_STATEMENT_SECONDS,
            pool_pre_ping=True,  # one round trip, so that a connection dropped while idle is never seen
        )
        # A migration may take longer than any statement of the service.
        self._patient = _engine(server, arguments, poolclass=NullPool)
        # Not from the pool: a busy service is no reason to lose its leases, nor to call the database dead.
        self._urgent = _engine(
            server,
            limited,
            pool_size=_URGENT_POOL_SIZE,
            max_overflow=0,
            pool_timeout=_STATEMENT_SECONDS,
            pool_pre_ping=True,
        )
        self._lock_seconds = lock_seconds
        self._on_connect = f"SET idle_in_transaction_session_timeout = {round(abandoned_seconds * 1000)}"
        self._closed = False
        self._connections: WeakSet[Any] = WeakSet()
        for engine in (self._engine, self._patient, self._urgent):
            event.listen(engine.sync_engine, "connect", self._watch)
            if engine is not self._engine or not self._pooled:  # A pooler's connections are not ours to set.
                event.listen(engine.sync_engine, "connect", self._set_up)

    async def connect(self, *, exclusive: bool = True) -> None:
        await self._wait_for_server()

    async def _wait_for_server(self) -> None:
        """Try again while the server starts, with growing pauses."""
        deadline = asyncio.get_running_loop().time() + self._start_seconds
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                return await self._greet()
            except (UnreachableError, LostConnectionError) as error:
                if asyncio.get_running_loop().time() + pause > deadline:
                    raise StorageError(f"{error} (tried for {self._start_seconds:g} s)") from error
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    async def _greet(self) -> None:
        """Reach the server, and the pooler in front of it; one that nobody told us of is refused."""
        if self._pooled:
            with translated(str(self._direct)):
                async with self._patient.connect():
                    pass
        with translated(self._name):
            async with self._engine.connect() as connection:
                if self._direct is None:
                    await refuse_pooler(connection, self._name)

    async def migrate(self, work: Work[T]) -> T:
        with translated(self._name):
            async with self._patient.begin() as connection:
                await self._lock_schema(connection)
                return await connection.run_sync(work)

    async def _lock_schema(self, connection: AsyncConnection) -> None:
        """Until the transaction ends; so it needs no session, which a pooler would not give."""
        deadline = asyncio.get_running_loop().time() + self._lock_seconds
        pause = _FIRST_PAUSE_SECONDS
        while not (await connection.execute(_SCHEMA_LOCK)).scalar_one():
            if asyncio.get_running_loop().time() + pause > deadline:
                raise ServiceLockedError(
                    f"{self._name}: a service of an older version, which shares it with nobody, still uses "
                    "it, or another process changes its schema; stop that service, or wait for that process"
                )
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    async def read(self, work: Work[T]) -> T:
        return await self._run(self._engine, work, repeatable=True)

    async def write(self, work: Work[T], *, repeatable: bool = False) -> T:
        return await self._run(self._engine, work, repeatable=repeatable)

    async def urgent(self, work: Work[T]) -> T:
        return await self._run(self._urgent, work, repeatable=True)

    async def ping(self) -> None:
        with translated(self._name):
            async with asyncio.timeout(_PING_SECONDS):
                await self.urgent(lambda connection: connection.execute(text("SELECT 1")).scalar_one())

    async def close(self) -> None:
        """Politely, but a server that does not answer gets no more than its time. Whatever still waits for it
        fails at once."""
        self._closed = True
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    for engine in (self._engine, self._patient, self._urgent):
                        await engine.dispose()
        finally:
            for connection in list(self._connections):
                connection.terminate()

    def _watch(self, adapted: Any, _record: object) -> None:
        self._connections.add(adapted.driver_connection)
        if self._closed:  # for somebody who waited for a connection
            adapted.driver_connection.terminate()

    def _set_up(self, adapted: Any, _record: object) -> None:
        if self._closed:
            return
        # Not a setting of the connection itself: poolers refuse those that they do not know.
        adapted.run_async(lambda connection: connection.execute(self._on_connect))

    async def _run(self, engine: AsyncEngine, work: Work[T], *, repeatable: bool) -> T:
        try:
            return await self._transact(engine, work)
        except LostConnectionError:
            if not repeatable:
                raise
        return await self._transact(engine, work)

    async def _transact(self, engine: AsyncEngine, work: Work[T]) -> T:
        if self._closed:  # else the pool would begin anew
            raise StorageError(f"{self._name}: the store is closed")
        with translated(self._name):
            async with engine.begin() as connection:
                return await connection.run_sync(work)


def _engine(address: PostgresAddress, arguments: dict[str, Any], **options: Any) -> AsyncEngine:
    """Values are hidden in errors: they are users' texts."""
    return create_async_engine(address.url, connect_args=arguments, hide_parameters=True, **options)
