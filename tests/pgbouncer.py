"""A PgBouncer in transaction mode before a Postgres of the tests."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from tests.postgres import PostgresServer
from tests.waiting import wait_until

__all__ = ["PgBouncer", "pgbouncer_program", "start_pgbouncer"]

_LIMIT_SECONDS = 30
_PORT = 6432

# Server connections in turn, and three: a ping and its work would each keep to one of two.
_SERVER_CONNECTIONS = 3
_CONFIGURATION = """
[databases]
* = host={server} user=postgres

[pgbouncer]
pool_mode = transaction
default_pool_size = {size}
server_round_robin = 1
server_login_retry = 1
auth_type = any
unix_socket_dir = {folder}
listen_port = {port}
{more}
"""


@dataclass(frozen=True, slots=True)
class PgBouncer:
    """`socket_folder` holds its UNIX socket, which `port` names; it listens on no network unless a setting
    says so. Whoever comes is the server's superuser."""

    socket_folder: Path
    port: int = _PORT

    def url(self, database: str) -> str:
        return f"postgresql://postgres@:{self.port}/{database}?host={self.socket_folder}"

    async def connect(self, database: str) -> asyncpg.Connection:
        """A client of the tests' own, who knows how to speak to a pooler."""
        return await asyncpg.connect(
            host=str(self.socket_folder),
            port=self.port,
            user="postgres",
            database=database,
            statement_cache_size=0,
            timeout=_LIMIT_SECONDS,
        )

    async def open_all(self, database: str) -> None:
        """Let it make all its connections to the server: it makes another one only while none is free."""
        clients = [await self.connect(database) for _ in range(_SERVER_CONNECTIONS)]
        for client in clients:
            await client.execute("BEGIN")
        for client in clients:
            await client.execute("COMMIT")
            await client.close()

    @property
    def log(self) -> str:
        return (self.socket_folder / "log").read_text()


def pgbouncer_program() -> str | None:
    """Debian keeps it where only root's PATH leads to."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


@contextmanager
def start_pgbouncer(
    server: PostgresServer, folder: Path, *settings: str, port: int = _PORT
) -> Iterator[PgBouncer]:
    """Start one with more `settings`, and stop it at the end, which cuts every connection. Its address is
    the (short) `folder`. Raises AssertionError with its log when it does not start."""
    pooler = PgBouncer(folder, port)
    file = folder / "pgbouncer.ini"
    file.write_text(
        _CONFIGURATION.format(
            server=server.socket_folder,
            folder=folder,
            port=port,
            size=_SERVER_CONNECTIONS,
            more="\n".join(settings),
        )
    )
    with (folder / "log").open("ab") as log:
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(
            [*_command(pooler, server), str(file)], stdin=quiet, stdout=log, stderr=log
        )
    try:
        wait_until(lambda: process.poll() is not None or _answers(pooler), _LIMIT_SECONDS, lambda: pooler.log)
        assert process.poll() is None, pooler.log
        yield pooler
    finally:
        process.terminate()
        process.wait(_LIMIT_SECONDS)


def _command(pooler: PgBouncer, server: PostgresServer) -> list[str]:
    """It refuses to be root: then it becomes the server's user, for whom the server's socket is."""
    program = pgbouncer_program()
    assert program is not None
    if os.geteuid() != 0:
        return [program]
    user = server.socket_folder.owner()
    for path in (pooler.socket_folder, *pooler.socket_folder.iterdir()):
        shutil.chown(path, user)
    return [program, "-u", user]


def _answers(pooler: PgBouncer) -> bool:
    with suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(pooler.socket_folder / f".s.PGSQL.{pooler.port}"))
        return True
    return False
