"""A migration amid replicas at work and transactions that stay open."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from tests.service.store.inspection import run_script, until_somebody_waits
from tests.service.store.released import SCHEMAS

from claude_agent_http.domain.errors import StorageError
from claude_agent_http.store import current_revision, schema
from claude_agent_http.store.postgres import PostgresDatabase
from claude_agent_http.store.postgres_address import PostgresAddress
from claude_agent_http.store.sql import migrate

pytestmark = pytest.mark.tier("postgres")

OLDEST = "0001"


@pytest.fixture
async def old_dsn(postgres_dsn: str) -> str:
    """Of a database with the schema of the first release."""
    await run_script(postgres_dsn, SCHEMAS / f"{OLDEST}.postgres.sql")
    return postgres_dsn


@asynccontextmanager
async def client(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn.replace("+asyncpg", ""), command_timeout=5)
    try:
        yield connection
    finally:
        connection.terminate()


@asynccontextmanager
async def backup(dsn: str) -> AsyncIterator[None]:
    """A transaction that has read the sessions and stays open."""
    async with client(dsn) as reader, reader.transaction(readonly=True):
        await reader.execute("SELECT FROM sessions")
        yield


async def test_replicas_work_on_while_a_migration_waits_for_a_backup(old_dsn: str) -> None:
    async with client(old_dsn) as replica:
        async with backup(old_dsn):
            migration = asyncio.create_task(migrate(PostgresDatabase(PostgresAddress.parse(old_dsn))))
            for _ in range(2):
                await until_somebody_waits(old_dsn)
                await replica.execute("UPDATE sessions SET last_seq = last_seq")
                await replica.fetch("SELECT FROM sessions")
            assert not migration.done()
        assert await asyncio.wait_for(migration, 20) == (OLDEST, schema.HEAD)


async def test_a_backup_that_does_not_end_in_time_is_told_and_nothing_is_changed(old_dsn: str) -> None:
    database = PostgresDatabase(PostgresAddress.parse(old_dsn), lock_seconds=0.2)
    async with backup(old_dsn):
        with pytest.raises(StorageError, match=r"a transaction that stays open .* end it or wait for it"):
            await migrate(database)
    assert await current_revision(old_dsn) == OLDEST
