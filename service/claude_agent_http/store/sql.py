"""The SQL store: one database behind its ports."""

import asyncio

from claude_agent_http.ports import Clock, Wakeups
from claude_agent_http.store import schema
from claude_agent_http.store.database import Database
from claude_agent_http.store.events import SqlEventLog
from claude_agent_http.store.leases import SqlLeases
from claude_agent_http.store.sessions import SqlSessionStore
from claude_agent_http.store.transcripts import SqlTranscriptStore
from claude_agent_http.store.writes import Writes


class SqlStore:
    """See `ports.Store`. Opened and closed once."""

    def __init__(self, database: Database, clock: Clock, wakeups: Wakeups) -> None:
        self._database = database
        self.is_shared = database.is_shared
        self.wakeups = wakeups
        self._writes = Writes(database, clock)
        self.events = SqlEventLog(database, self._writes)
        self.sessions = SqlSessionStore(database)
        self.transcripts = SqlTranscriptStore(database, self._writes)
        self.leases = SqlLeases(database, clock)

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
