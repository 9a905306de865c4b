"""SQLite: one writer connection, a few readers, each unit of work whole in one thread call."""

import asyncio
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.pool import NullPool, QueuePool

from claude_agent_http.domain.errors import StorageError
from claude_agent_http.store.database import Work
from claude_agent_http.store.errors import NO_SPACE, translated
from claude_agent_http.store.service_lock import ServiceLock

T = TypeVar("T")

# FULL survives a power cut, NORMAL only the end of the process.
Synchronous = Literal["FULL", "NORMAL"]

_READERS = 4
_BUSY_SECONDS = 5.0
_PING_SECONDS = 2.0


class SqliteDatabase:
    """A transaction runs in a thread to its end, so a cancelled caller never leaves one half done."""

    is_shared = False

    def __init__(self, path: Path, *, synchronous: Synchronous = "FULL") -> None:
        self._path = Path(os.path.realpath(path))  # one lock for all names of the file
        self._name = f"SQLite database {path}"
        self._lock = ServiceLock(self._path)
        # What is deleted is overwritten: a user who was erased must not be found in the file's free pages.
        pragmas = {"foreign_keys": "ON", "synchronous": synchronous, "secure_delete": "ON"}
        self._writer = _engine(self._path, pragmas, begin="BEGIN IMMEDIATE", size=1)
        self._reader = _engine(self._path, pragmas | {"query_only": "ON"}, begin="BEGIN", size=_READERS)
        self._writer_thread = ThreadPoolExecutor(1, "sqlite-writer")
        self._reader_threads = ThreadPoolExecutor(_READERS, "sqlite-reader")

    async def connect(self, *, exclusive: bool = True) -> None:
        await asyncio.to_thread(self._prepare, exclusive)

    def _prepare(self, exclusive: bool) -> None:
        with translated(self._name):
            if exclusive:
                self._make_folder()
                self._lock_file()
            elif not self._path.exists():
                raise StorageError(
                    f"{self._name}: it does not exist yet; the service makes it when it starts"
                )
            with self._writer.connect() as connection:
                connection.execute(text("SELECT count(*) FROM sqlite_master")).scalar_one()

    def _make_folder(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unusable_folder(error) from error

    def _lock_file(self) -> None:
        try:
            self._lock.acquire()
        except OSError as error:
            raise self._unusable_folder(error) from error

    def _unusable_folder(self, error: OSError) -> Exception:
        if error.errno in NO_SPACE:
            return error
        with_uid = f"make it writable for uid {os.getuid()} or choose another path"
        return StorageError(f"{self._name}: folder {self._path.parent}: {error.strerror}; {with_uid}")

    async def migrate(self, work: Work[T]) -> T:
        # Enforced foreign keys would delete events when a migration rebuilds the sessions table.
        engine = _engine(self._path, {"foreign_keys": "OFF"}, begin="BEGIN IMMEDIATE", size=0)
        return await self._run(self._writer_thread, engine, work)

    async def read(self, work: Work[T]) -> T:
        return await self._run(self._reader_threads, self._reader, work)

    async def write(self, work: Work[T], *, repeatable: bool = False) -> T:
        return await self._run(self._writer_thread, self._writer, work)

    async def urgent(self, work: Work[T], *, patience: float) -> T:
        return await self.write(work)

    async def ping(self) -> None:
        with translated(self._name):
            async with asyncio.timeout(_PING_SECONDS):
                await self.read(lambda connection: connection.execute(text("SELECT 1")).scalar_one())

    async def scrub(self) -> bool:
        return await self._call(self._writer_thread, self._empty_log)

    def _empty_log(self) -> bool:
        with translated(self._name), closing(self._writer.raw_connection()) as connection:
            cursor = connection.cursor()
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            row = cursor.fetchone()
            return row is not None and row[0] == 0  # the first says whether it was busy

    async def close(self) -> None:
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        for threads in (self._writer_thread, self._reader_threads):
            threads.shutdown(wait=True)
        # The writer last: the last connection to close folds the log into the database.
        self._reader.dispose()
        self._writer.dispose()
        self._lock.release()

    async def _run(self, threads: ThreadPoolExecutor, engine: Engine, work: Work[T]) -> T:
        return await self._call(threads, partial(_transact, self._name, engine, work))

    async def _call(self, threads: ThreadPoolExecutor, call: Callable[[], T]) -> T:
        try:
            running = asyncio.get_running_loop().run_in_executor(threads, call)
        except RuntimeError as error:  # the threads are shut down
            raise StorageError(f"{self._name}: the store is closed") from error
        return await running


def _transact(name: str, engine: Engine, work: Work[T]) -> T:
    with translated(name), engine.begin() as connection:
        return work(connection)


def _engine(path: Path, pragmas: dict[str, str], *, begin: str, size: int) -> Engine:
    """`size` 0 keeps no connection open. Values are hidden in errors: they are users' texts."""
    pool: dict[str, Any] = {"poolclass": NullPool}
    if size:
        pool = {"poolclass": QueuePool, "pool_size": size, "max_overflow": 0, "pool_timeout": _BUSY_SECONDS}
    arguments = {"check_same_thread": False, "timeout": _BUSY_SECONDS}
    url = URL.create("sqlite", database=str(path))
    engine = create_engine(url, connect_args=arguments, hide_parameters=True, **pool)

    def on_connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the driver starts no transactions of its own
        connection.execute("PRAGMA journal_mode = WAL")
        for name, value in pragmas.items():
            connection.execute(f"PRAGMA {name} = {value}")

    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine, "connect", on_connect)
    event.listen(engine, "begin", on_begin)
    return engine
