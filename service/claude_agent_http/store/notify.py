"""Wake-ups by LISTEN and NOTIFY, on a connection of their own.

A NOTIFY inside each commit would serialise the commits, so what is told is gathered for a few milliseconds
and sent in a transaction of its own. The connection leads to the server itself: a pooler that gives out its
connections by the transaction keeps no LISTEN.
"""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import asyncpg
import structlog

from claude_agent_http.domain.errors import StorageError
from claude_agent_http.domain.wakeup import Missed, Wakeup
from claude_agent_http.store.errors import translated
from claude_agent_http.store.outbox import Outbox
from claude_agent_http.store.postgres_address import PostgresAddress
from claude_agent_http.store.wakeup_codec import pack, unpack

_log = structlog.get_logger(__name__)
_CHANNEL = "claude_agent_http"
_TELL = "SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload"
_GATHER_SECONDS = 0.005
_CONNECT_SECONDS = 5.0
_STATEMENT_SECONDS = 5.0
_SIGN_OF_LIFE_SECONDS = 10.0
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0
_CLOSE_SECONDS = 0.5
_CANCEL_SECONDS = 0.3


class PostgresWakeups:
    """See `ports.Wakeups`. Owns one task, which keeps the connection and tells what waits."""

    def __init__(self, address: PostgresAddress) -> None:
        self._address = address
        self._sender = uuid4().hex
        self._outbox = Outbox()
        self._due = asyncio.Event()
        self._hear: Callable[[Wakeup], None] = lambda _: None
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    async def start(self, hear: Callable[[Wakeup], None]) -> None:
        self._hear = hear
        self._task = asyncio.create_task(self._keep_connected(), name="wakeups")

    def tell(self, wakeup: Wakeup) -> None:
        if self._task is not None and not self._closing:
            self._outbox.put(wakeup)
            self._due.set()

    async def close(self) -> None:
        self._closing = True
        self._due.set()
        task, self._task = self._task, None
        if task is not None:
            try:
                await asyncio.wait([task], timeout=_CLOSE_SECONDS)
            finally:
                task.cancel()
                await asyncio.wait([task], timeout=_CANCEL_SECONDS)

    async def _keep_connected(self) -> None:
        clock = asyncio.get_running_loop().time
        pause = _FIRST_PAUSE_SECONDS
        while not self._closing:
            began = clock()
            await self._connect_once()
            if clock() - began > _LONGEST_PAUSE_SECONDS:
                pause = _FIRST_PAUSE_SECONDS
            if not self._closing:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _connect_once(self) -> None:
        """Returns when the connection cannot be made, is lost, or is needed no more."""
        try:
            with translated(f"wake-ups over {self._address}"):
                connection = await self._connect()
                try:
                    self._pass_on(Missed())
                    await self._tell_until_lost(connection)
                finally:
                    connection.terminate()
        except StorageError as error:
            _log.warning("other replicas are heard only by asking the database", reason=str(error))
        except Exception:
            _log.exception("the wake-ups failed")

    async def _connect(self) -> Any:
        url = self._address.url
        connection = await asyncpg.connect(
            host=url.host,
            port=url.port,
            user=url.username,
            password=url.password,
            database=url.database,
            timeout=_CONNECT_SECONDS,
            command_timeout=_STATEMENT_SECONDS,
            **self._address.connect_arguments(),
        )
        try:
            await connection.add_listener(_CHANNEL, self._heard)
            connection.add_termination_listener(lambda _: self._due.set())
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _tell_until_lost(self, connection: Any) -> None:
        """Returns when all is told and we are closing. Raises what ends the connection."""
        while True:
            if connection.is_closed():
                raise ConnectionResetError
            if wakeups := self._outbox.take():
                await connection.execute(_TELL, _CHANNEL, pack(self._sender, wakeups))
            elif self._closing:
                return
            else:
                await self._wait(connection)

    async def _wait(self, connection: Any) -> None:
        """For something to tell; a connection that is silent for long is asked for a sign of life."""
        self._due.clear()
        if self._outbox or self._closing or connection.is_closed():
            return
        try:
            async with asyncio.timeout(_SIGN_OF_LIFE_SECONDS):
                await self._due.wait()
        except TimeoutError:
            await connection.execute("SELECT 1")
            return
        await asyncio.sleep(_GATHER_SECONDS)

    def _heard(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        try:
            sender, wakeups = unpack(str(payload))
        except ValueError:
            _log.warning("a notification that no replica of this service sends was passed over")
            return
        if sender != self._sender:
            for wakeup in wakeups:
                self._pass_on(wakeup)

    def _pass_on(self, wakeup: Wakeup) -> None:
        if self._closing:
            return
        try:
            self._hear(wakeup)
        except Exception:
            _log.exception("a wake-up could not be acted on")
