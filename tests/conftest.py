"""What every test may use: the tiers, and a Postgres of the run's own."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.pgbouncer import PgBouncer, start_pgbouncer
from tests.postgres import PostgresServer, administer, new_database, start_postgres

pytest_plugins = ["tests.tiers", "tests.proof", "tests.sample", "pytester"]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A running server, stopped when the run ends."""
    with start_postgres() as server:
        # Processes are killed here, the machine is not; and every new database waits for the disk otherwise.
        asyncio.run(administer(server, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"))
        yield server


@pytest.fixture(scope="session")
def pgbouncer(postgres_server: PostgresServer) -> Iterator[PgBouncer]:
    """A pooler in transaction mode before that server."""
    # Short, for it holds a socket, whose path has a limit.
    with (
        tempfile.TemporaryDirectory(prefix="pgb-") as folder,
        start_pgbouncer(postgres_server, Path(folder)) as pooler,
    ):
        yield pooler


@pytest.fixture
async def postgres_dsn(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """The SQLAlchemy URL of a new, empty database, dropped after the test with whoever is still connected."""
    async with new_database(postgres_server) as name:
        yield postgres_server.sqlalchemy_url(name)
