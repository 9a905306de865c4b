"""Postgres: a pool of asyncpg connections, and a few more for what must not wait behind others."""

import asyncio
from contextlib import suppress
from typing import Any, TypeVar
from weakref import WeakSet

from sqlalchemy import Connection, event, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from claude_agent_http.domain.errors import StorageError
from claude_agent_http.store.database import START_SECONDS, Work
from claude_agent_http.store.errors import LostConnectionError, UnreachableError, translated
from claude_agent_http.store.lifeline import LIFELINE_POOL, Lifeline
from claude_agent_http.store.pooler import NAMELESS_STATEMENTS, refuse_pooler
from claude_agent_http.store.postgres_address import PostgresAddress
from claude_agent_http.store.schema_change import change_schema

T = TypeVar("T")

_LOCK_SECONDS = 60.0
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0
_CONNECT_SECONDS = 5.0
_STATEMENT_SECONDS = 10.0
_ABANDONED_SECONDS = 10.0
_ABANDONED_RENEWAL_SECONDS = 1.0
_PING = text("SELECT 1")
_PING_SECONDS = 2.0
_PING_PATIENCE = 0.5
_CLOSE_SECONDS = 0.5


class PostgresDatabase:
    """`direct` is the server's own address where `address` is that of a pooler. `start_seconds`: how long to
    try while the server starts; `lock_seconds`: how long to wait for whoever is in the way of a change of the
    schema; `abandoned_seconds`: how long a transaction keeps its locks when nothing more comes from its host,
    which may be dead or paused."""

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
        self._renewing, self._pinging = (_engine(server, limited, **LIFELINE_POOL) for _ in range(2))
        self._renewals = Lifeline(self._renewing, self._name)
        self._pings = Lifeline(self._pinging, self._name)
        self._engines = (self._engine, self._patient, self._renewing, self._pinging)
        self._lock_seconds = lock_seconds
        self._closed = False
        self._connections: WeakSet[Any] = WeakSet()
        for engine in self._engines:
            event.listen(engine.sync_engine, "connect", self._watch)
            self._end_abandoned(engine, abandoned_seconds)

    def _end_abandoned(self, engine: AsyncEngine, seconds: float) -> None:
        if engine is self._renewing:  # A renewal that goes over another connection waits for its row.
            seconds = min(seconds, _ABANDONED_RENEWAL_SECONDS)
        limit = f"idle_in_transaction_session_timeout = {round(seconds * 1000)}"

        def set_up(adapted: Any, _record: object) -> None:
            if not self._closed:
                # Not a setting of the connection itself: poolers refuse those that they do not know.
                adapted.run_async(lambda connection: connection.execute(f"SET {limit}"))

        def begin(connection: Connection) -> None:
            connection.exec_driver_sql(f"SET LOCAL {limit}")

        if engine is self._engine and self._pooled:  # A pooler's connections are not ours to set.
            event.listen(engine.sync_engine, "begin", begin)
        else:
            event.listen(engine.sync_engine, "connect", set_up)

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
                return await change_schema(connection, work, self._name, self._lock_seconds)

    async def read(self, work: Work[T]) -> T:
        return await self.write(work, repeatable=True)

    async def write(self, work: Work[T], *, repeatable: bool = False) -> T:
        try:
            return await self._transact(work)
        except LostConnectionError:
            if not repeatable:
                raise
        return await self._transact(work)

    async def urgent(self, work: Work[T], *, patience: float) -> T:
        self._check_open()
        return await self._renewals.run(work, patience)

    async def ping(self) -> None:
        self._check_open()
        with translated(self._name):
            async with asyncio.timeout(_PING_SECONDS):
                await self._pings.run(
                    lambda connection: connection.execute(_PING).scalar_one(), _PING_PATIENCE
                )

    async def scrub(self) -> bool:
        return True  # Its log and its free space are the server's.

    async def close(self) -> None:
        """Politely, but a server that does not answer gets no more than its time. Whatever still waits for it
        fails at once."""
        self._closed = True
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    for engine in self._engines:
                        await engine.dispose()
        finally:
            for connection in list(self._connections):
                connection.terminate()

    def _watch(self, adapted: Any, _record: object) -> None:
        self._connections.add(adapted.driver_connection)
        if self._closed:  # for somebody who waited for a connection
            adapted.driver_connection.terminate()

    async def _transact(self, work: Work[T]) -> T:
        self._check_open()
        with translated(self._name):
            async with self._engine.begin() as connection:
                return await connection.run_sync(work)

    def _check_open(self) -> None:
        if self._closed:  # else the pool would begin anew
            raise StorageError(f"{self._name}: the store is closed")


def _engine(address: PostgresAddress, arguments: dict[str, Any], **options: Any) -> AsyncEngine:
    """Values are hidden in errors: they are users' texts."""
    return create_async_engine(address.url, connect_args=arguments, hide_parameters=True, **options)
