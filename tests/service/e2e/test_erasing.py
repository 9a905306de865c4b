"""A user is erased from two real replicas: no row, file or process is left; another user notices nothing."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import httpx
import psutil
import pytest
from tests.service.e2e.client import Client, bash, script
from tests.service.e2e.conftest import Storage
from tests.service.e2e.service_process import ServiceProcess, Services
from tests.service.e2e.test_replicas import BEAT, Replicas
from tests.waiting import until

pytestmark = [
    pytest.mark.tier("cli", "linux"),
    pytest.mark.timeout(300),
    pytest.mark.parametrize(
        "storage", [pytest.param("postgresql", marks=pytest.mark.tier("postgres"))], indirect=True
    ),
]

SECRET = "the-secret-of-alice"
LEAVE_THINGS = script(
    bash(
        f"echo {SECRET} | tee file $HOME/file $TMPDIR/file $CLAUDE_CONFIG_DIR/file; ln -s ../../bob link;"
        "mkdir -p closed/inner; touch closed/inner/file; chmod 500 closed/inner; chmod 0 closed"
    ),
    {"text": f"I will keep {SECRET}"},
)
FILES = 20_000


@pytest.fixture
def pair(services: Services, storage: Storage) -> tuple[ServiceProcess, ServiceProcess]:
    replicas = Replicas(services, storage)
    return replicas.start(), replicas.start()


@pytest.fixture
async def clients(pair: tuple[ServiceProcess, ServiceProcess]) -> AsyncIterator[tuple[Client, Client]]:
    async with Client(pair[0].url) as first, Client(pair[1].url) as second:
        yield first, second


Both = tuple[Client, Client]


@pytest.fixture
async def database(storage: Storage) -> AsyncIterator[asyncpg.Connection]:
    host, name = (storage.env[f"CLAUDE_AGENT_SESSION_PG_{key}"] for key in ("HOST", "DATABASE"))
    connection = await asyncpg.connect(f"postgresql://postgres@/{name}?host={host}")
    yield connection
    await connection.close()


async def test_nothing_of_the_user_is_left_anywhere(
    pair: tuple[ServiceProcess, ServiceProcess], clients: Both, database: asyncpg.Connection
) -> None:
    (a, b), users = clients, pair[0].users
    bobs = await a.create("bob")
    await a.say(bobs, script(bash("echo mine > file"), {"text": "yes"}))
    await b.say(bobs, "my name is Robin")
    bob_lives_in, bobs_log = pair[0].cli("bob").pid, await b.events(bobs)
    deleted, idle, running = [await a.create("alice", subdir=name) for name in ("x", "y/z", "z")]
    await a.say(deleted, LEAVE_THINGS)
    await b.say(idle, LEAVE_THINGS)
    assert SECRET in await b.say(idle, f"my name is {SECRET}") + await b.recall(idle)
    assert (await b.http.delete(f"/api/v1/sessions/{deleted}")).status_code == 204
    names = ["alice", SECRET, deleted, idle, running]
    assert await rows_with(database, names) != []
    assert list(places_of(users, names)) != []

    async with a.follow(running) as reader:
        turn = asyncio.create_task(a.chat(running, script(bash(f"(setsid sleep 600 &); {BEAT}"))))
        await until((users / "alice" / "z" / "beat").exists, 20)
        processes = living_in(users / "alice")
        assert len(processes) >= 3
        answer = await b.http.delete("/api/v1/users/alice")
        assert await reader.until_ended() == "closed"
    await asyncio.gather(turn, return_exceptions=True)

    assert answer.status_code == 200, answer.text
    erased = answer.json()
    assert (erased["user_id"], erased["sessions_deleted"]) == ("alice", 2)
    assert erased["files_deleted"] >= 7
    assert [one for one in processes if one.is_running()] == []
    assert living_in(users / "alice") == []
    assert await rows_with(database, names) == []
    assert list(places_of(users, names)) == []
    for client in clients:
        repeated = await client.http.delete("/api/v1/users/alice")
        assert repeated.json() == {"user_id": "alice", "sessions_deleted": 0, "files_deleted": 0}

    assert (users / "bob" / "file").read_text() == "mine\n"
    assert pair[0].cli("bob").pid == bob_lives_in
    assert await b.events(bobs) == bobs_log
    assert "my name is Robin" in await b.recall(bobs)
    assert SECRET not in await b.recall(await b.create("alice"))


async def test_a_replica_killed_while_it_erases_leaves_the_rest_to_a_repeat(
    pair: tuple[ServiceProcess, ServiceProcess], clients: Both, database: asyncpg.Connection
) -> None:
    (a, b), users = clients, pair[0].users
    session = await b.create("alice")
    await b.say(session, LEAVE_THINGS)
    for number in range(FILES):
        (users / "alice" / f"file{number}").touch()
    erasing = asyncio.create_task(b.http.delete("/api/v1/users/alice"))
    await until(lambda: len(os.listdir(users / "alice")) < FILES, 20)
    pair[1].kill()
    pair[1].wait()
    with pytest.raises(httpx.TransportError):
        await erasing
    assert (users / "alice").exists()

    answer = await a.http.delete("/api/v1/users/alice")
    assert answer.status_code == 200, answer.text
    assert 0 < answer.json()["files_deleted"] < FILES
    names = ["alice", SECRET, session]
    assert await rows_with(database, names) == []
    assert list(places_of(users, names)) == []


async def rows_with(database: asyncpg.Connection, names: list[str]) -> list[str]:
    """The rows of any table that hold one of the names anywhere."""
    tables = await database.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert {"sessions", "events", "transcript_entries", "replicas"} <= {table for (table,) in tables}
    found: list[str] = []
    for (table,) in tables:
        query = f'SELECT row::text FROM "{table}" AS row WHERE row::text LIKE ANY($1)'
        found += [
            f"{table}: {row}" for (row,) in await database.fetch(query, [f"%{name}%" for name in names])
        ]
    return found


def places_of(folder: Path, names: list[str]) -> Iterator[str]:
    """The paths below the folder that hold one of the names, in the path or in the file."""
    for path in folder.rglob("*"):
        within = str(path.relative_to(folder))
        with suppress(OSError):
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            if any(name in within or name.encode() in content for name in names):
                yield within


def living_in(folder: Path) -> list[psutil.Process]:
    """Also those whose folder is gone."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if os.readlink(f"/proc/{process.pid}/cwd").startswith(str(folder)):
                found.append(process)
    return found
