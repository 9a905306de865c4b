"""A look at a database past the store."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import asyncpg
from sqlalchemy import URL, Connection, create_engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

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


async def run_script(url: str, dump: Path) -> None:
    """Run the statements of a dump."""
    script = await asyncio.to_thread(dump.read_text)
    if url.startswith("sqlite:"):
        _run_in_sqlite(Path(url.removeprefix("sqlite:///")), script)
        return
    client = await asyncpg.connect(url.replace("+asyncpg", ""))
    await client.execute(script)
    await client.close()


def _run_in_sqlite(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()
