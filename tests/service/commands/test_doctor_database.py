"""doctor on databases: those that refuse, are older, newer, or something else."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.pgbouncer import PgBouncer
from tests.postgres import PostgresServer
from tests.service.commands.program import run
from tests.service.commands.set_up import V, found, sound


def test_a_database_that_refuses(tmp_path: Path, cli: Path):
    env = sound(tmp_path, cli) | {f"{V}SESSION_STORAGE": "postgresql", f"{V}SESSION_PG_PORT": "1"}
    env[f"{V}SESSION_PG_HOST"] = "127.0.0.1"
    finding = found(env, tmp_path)["database"]
    assert finding.level == "fail"
    assert "refused" in finding.found
    assert "pg_isready" in finding.advice


async def test_a_postgres_before_and_after_its_migration(tmp_path: Path, cli: Path, postgres_dsn: str):
    url = urlsplit(postgres_dsn)
    async with by_tcp(Path(parse_qs(url.query)["host"][0]) / ".s.PGSQL.5432") as port:
        env = sound(tmp_path, cli) | {
            f"{V}SESSION_STORAGE": "postgresql",
            f"{V}SESSION_PG_HOST": "127.0.0.1",
            f"{V}SESSION_PG_PORT": str(port),
            f"{V}SESSION_PG_DATABASE": url.path.removeprefix("/"),
        }
        before = await asyncio.to_thread(found, env, tmp_path)
        migrated = await asyncio.to_thread(run, "migrate", cwd=tmp_path, env=env)
        after = await asyncio.to_thread(found, env, tmp_path)
    assert "postgresql answers; no schema yet" in before["database"].found
    assert migrated.stdout.startswith("postgresql: migrated from empty to ")
    assert "postgresql answers; its schema is " in after["database"].found


async def test_a_pooler_must_be_named_as_such(
    tmp_path: Path, cli: Path, pgbouncer: PgBouncer, postgres_server: PostgresServer
):
    env = sound(tmp_path, cli) | {
        f"{V}SESSION_STORAGE": "postgresql",
        f"{V}SESSION_PG_HOST": str(pgbouncer.socket_folder),
        f"{V}SESSION_PG_PORT": str(pgbouncer.port),
        f"{V}SESSION_PG_DATABASE": "postgres",
    }
    direct = {
        f"{V}SESSION_PG_DIRECT_HOST": str(postgres_server.socket_folder),
        f"{V}SESSION_PG_DIRECT_PORT": "5432",
    }
    refused = (await asyncio.to_thread(found, env, tmp_path))["database"]
    assert (refused.level, "session.pg_direct_host" in refused.found) == ("fail", True)
    named = (await asyncio.to_thread(found, env | direct, tmp_path))["database"]
    assert (named.level, "postgresql answers" in named.found) == ("ok", True)


@asynccontextmanager
async def by_tcp(socket_file: Path) -> AsyncIterator[int]:
    """A port that leads to a UNIX socket: the settings name a host and a port."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while block := await reader.read(65536):
            writer.write(block)
            await writer.drain()
        writer.close()

    async def bridge(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(socket_file)
        ways = carry(reader, far_writer), carry(far_reader, writer)
        await asyncio.gather(*ways, return_exceptions=True)

    async with await asyncio.start_server(bridge, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


def test_a_file_that_is_no_database(tmp_path: Path, cli: Path):
    (tmp_path / "x.db").write_bytes(b"no database at all" * 100)
    finding = found(sound(tmp_path, cli) | {f"{V}SESSION_SQLITE_PATH": "x.db"}, tmp_path)["database"]
    assert (finding.level, "not an SQLite database" in finding.found) == ("fail", True)


def test_a_database_with_its_schema(tmp_path: Path, cli: Path):
    assert run("migrate", cwd=tmp_path).returncode == 0
    assert "sqlite answers; its schema is " in found(sound(tmp_path, cli), tmp_path)["database"].found


@pytest.mark.parametrize(
    ("oldest", "level", "wanted"),
    [("0002", "ok", "its schema is 9999"), ("9999", "fail", "run the newer version")],
)
def test_a_database_of_a_newer_version(oldest: str, level: str, wanted: str, tmp_path: Path, cli: Path):
    env = sound(tmp_path, cli) | {f"{V}SESSION_SQLITE_PATH": "x.db"}
    assert run("migrate", cwd=tmp_path, env=env).returncode == 0
    with closing(sqlite3.connect(tmp_path / "x.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.execute("UPDATE schema_compatibility SET oldest_revision = ?", [oldest])
    finding = found(env, tmp_path)["database"]
    assert (finding.level, wanted in finding.found) == (level, True)
