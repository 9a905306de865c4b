"""The SQL store: one database behind its ports."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from claude_agent_http.domain.errors import ServiceLockedError, StorageError
from claude_agent_http.ports import ApiKeys, AuditLog, Clock, Wakeups
from claude_agent_http.store import schema
from claude_agent_http.store.api_keys import SqlApiKeys
from claude_agent_http.store.audit import SqlAuditLog
from claude_agent_http.store.database import Database
from claude_agent_http.store.events import SqlEventLog
from claude_agent_http.store.leases import SqlLeases
from claude_agent_http.store.server_clock import ServerClock
from claude_agent_http.store.sessions import SqlSessionStore
from claude_agent_http.store.transcripts import SqlTranscriptStore
from claude_agent_http.store.usage import SqlUsageStore
from claude_agent_http.store.writes import Writes

_KEYS_SINCE = "0003"
_AUDIT_SINCE = "0008"


class SqlStore:
    """See `ports.Store`. Opened and closed once."""

    def __init__(self, database: Database, clock: Clock, wakeups: Wakeups) -> None:
        self._database = database
        self.clock = ServerClock(clock)
        self.is_shared = database.is_shared
        self.wakeups = wakeups
        self._writes = Writes(database, self.clock)
        self.events = SqlEventLog(database, self._writes)
        self.sessions = SqlSessionStore(database)
        self.transcripts = SqlTranscriptStore(database, self._writes)
        self.leases = SqlLeases(database, self.clock)
        self.api_keys = SqlApiKeys(database)
        self.usage = SqlUsageStore(database, self.clock)
        self.audit = SqlAuditLog(database)

    async def open(self) -> None:
        try:
            await self._database.connect()
            await self._database.migrate(schema.upgrade)
            if not self.is_shared:
                await self.leases.forget_replicas()
        except BaseException:
            await self._database.close()
            raise
        self._writes.start()

    async def ping(self) -> None:
        await self._database.ping()

    async def scrub(self) -> bool:
        return await self._database.scrub()

    async def close(self) -> None:
        try:
            await asyncio.gather(self._writes.close(), self.wakeups.close())
        finally:
            await self._database.close()


async def migrate(database: Database) -> tuple[str | None, str]:
    """Bring the database to this code's schema: (revision before, revision now), None for an empty one.

    Raises ServiceLockedError while a service has it for itself, StorageError.
    """
    try:
        await database.connect()
        return await database.migrate(schema.upgrade)
    finally:
        await database.close()


async def current_revision(database: Database) -> str | None:
    """The database's schema revision, None for an empty one; also while a service uses it.

    Raises StorageError.
    """
    try:
        await database.connect(exclusive=False)
        return await database.read(schema.usable_revision)
    finally:
        await database.close()


@asynccontextmanager
async def api_keys(database: Callable[[], Database], *, prepare: bool) -> AsyncIterator[ApiKeys]:
    """The keys of a database, also while a service uses it. `prepare`: it gets this code's schema first.

    Raises StorageError.
    """
    try:
        if prepare:
            await migrate(database())
    except ServiceLockedError:  # then its service has made the schema
        pass
    async with _looked_into(database(), "API keys", since=_KEYS_SINCE) as opened:
        yield SqlApiKeys(opened)


@asynccontextmanager
async def audit_log(database: Callable[[], Database]) -> AsyncIterator[AuditLog]:
    """The audit of a database, also while a service uses it; nothing is changed. Raises StorageError."""
    async with _looked_into(database(), "audit of approvals", since=_AUDIT_SINCE) as opened:
        yield SqlAuditLog(opened)


@asynccontextmanager
async def _looked_into(database: Database, what: str, *, since: str) -> AsyncIterator[Database]:
    """Connected, beside whoever uses it. Raises StorageError, also where it cannot have that yet."""
    try:
        await database.connect(exclusive=False)
        revision = await database.read(schema.usable_revision)
        if revision is None or revision < since:
            raise StorageError(
                f"the database is of an older version (its schema is {revision}), which knows no {what}; "
                "start this version of the service first"
            )
        yield database
    finally:
        await database.close()
