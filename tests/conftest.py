"""What every test may use: the tiers, and a Postgres of the run's own."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from tests.pgbouncer import PgBouncer, start_pgbouncer
from tests.postgres import PostgresServer, start_postgres

pytest_plugins = ["tests.tiers", "tests.proof", "tests.sample", "pytester"]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A running server, stopped when the run ends."""
    with start_postgres() as server:
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
    name = f"test_{uuid4().hex}"
    await _administer(postgres_server, f'CREATE DATABASE "{name}"')
    yield postgres_server.sqlalchemy_url(name)
    await _administer(postgres_server, f'DROP DATABASE "{name}" WITH (FORCE)')


async def _administer(server: PostgresServer, statement: str) -> None:
    connection = await asyncpg.connect(server.url("postgres"), timeout=30)
    try:
        await connection.execute(statement, timeout=30)
    finally:
        await connection.close()
