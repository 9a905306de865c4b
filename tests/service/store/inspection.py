"""A look at a database past the store."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import asyncpg
from sqlalchemy import URL, Connection, create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from tests.waiting import until

T = TypeVar("T")


async def in_database(url: str, work: Callable[[Connection], T]) -> T:
    """Run the work in one transaction."""
    if url.startswith("sqlite:"):
        file = URL.create("sqlite", database=url.removeprefix("sqlite:///"))
        engine = create_engine(file, poolclass=NullPool)
        with engine.begin() as connection:
            return work(connection)
    async_engine = create_async_engine(url, poolclass=NullPool)
    async with async_engine.begin() as async_connection:
        return await async_connection.run_sync(work)


async def end_connections(url: str) -> None:
    """End every connection to a Postgres database but this one, and wait until they are gone."""
    client = await asyncpg.connect(url.replace("+asyncpg", ""))
    await client.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await client.close()


async def run_script(url: str, dump: Path) -> None:
    """Run the statements of a dump."""
    script = await asyncio.to_thread(dump.read_text)
    if url.startswith("sqlite:"):
        _run_in_sqlite(Path(url.removeprefix("sqlite:///")), script)
        return
    client = await asyncpg.connect(url.replace("+asyncpg", ""))
    await client.execute(script)
    await client.close()


async def server_time(url: str) -> float:
    """By the clock of this Postgres, in seconds."""
    query = text("SELECT extract(epoch FROM clock_timestamp())")
    return float(await in_database(url, lambda connection: connection.execute(query).scalar_one()))


async def until_somebody_waits(url: str) -> None:
    """Until some transaction of this Postgres database waits for the lock of another one."""
    query = text(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )

    async def waits() -> bool:
        return bool(await in_database(url, lambda connection: connection.execute(query).scalar_one()))

    await until(waits)


def _run_in_sqlite(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()
