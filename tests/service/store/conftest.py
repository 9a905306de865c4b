"""One store of each kind, so that one suite runs over all of them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import make_url
from tests.pgbouncer import PgBouncer
from tests.postgres import PostgresServer, administer, new_database
from tests.service.store.inspection import server_time
from tests.service.store.values import TickingClock
from tests.waiting import until

from claude_agent_http.ports import Store
from claude_agent_http.store import postgres_store, sqlite_store
from claude_agent_http.store.memory import MemoryStore

KINDS = [
    pytest.param("memory"),
    pytest.param("sqlite"),
    pytest.param("postgres", marks=pytest.mark.tier("postgres")),
    pytest.param("pgbouncer", marks=pytest.mark.tier("postgres", "pgbouncer")),
]
DATABASES = KINDS[1:]
SHARED = KINDS[2:]
_MIGRATED = "migrated"


@dataclass(frozen=True)
class Place:
    """A database, and how another process or another try reaches the same one."""

    url: str
    make: Callable[[], Store]
    pooler_url: str | None = None
    """Where the store connects when it is not `url`."""

    @property
    def is_postgres(self) -> bool:
        return self.url.startswith("postgresql")


@pytest.fixture(scope="session")
def migrated(postgres_server: PostgresServer) -> Iterator[str]:
    """A database as a store that was opened there leaves it, to be copied."""

    async def made() -> None:
        await administer(postgres_server, f"CREATE DATABASE {_MIGRATED}")
        store = postgres_store(postgres_server.sqlalchemy_url(_MIGRATED), TickingClock())
        await store.open()
        await store.close()

    asyncio.run(made())
    yield _MIGRATED
    asyncio.run(administer(postgres_server, f"DROP DATABASE {_MIGRATED}"))


@pytest.fixture
def template(request: pytest.FixtureRequest) -> str:
    """Migrated already where the test gets an open `store` anyway: migrating takes longer than most."""
    return str(request.getfixturevalue("migrated")) if "store" in request.fixturenames else "template1"


@pytest.fixture
async def postgres_dsn(postgres_server: PostgresServer, template: str) -> AsyncIterator[str]:
    """Of a database of the test's own."""
    async with new_database(postgres_server, template) as name:
        yield postgres_server.sqlalchemy_url(name)


@pytest.fixture
def clock() -> TickingClock:
    return TickingClock()


@pytest.fixture
def sqlite_place(tmp_path: Path, clock: TickingClock) -> Place:
    path = tmp_path / "new folder ?a=b&c#d %20 é" / "agents.db"
    return Place(f"sqlite:///{path}", lambda: sqlite_store(path, clock))


@pytest.fixture
def postgres_place(postgres_dsn: str, clock: TickingClock) -> Place:
    return Place(postgres_dsn, lambda: postgres_store(postgres_dsn, clock, pool_size=4))


@pytest.fixture
async def pgbouncer_place(postgres_dsn: str, pgbouncer: PgBouncer, clock: TickingClock) -> Place:
    """The same, with a pooler between that has fewer connections than the store."""
    database = make_url(postgres_dsn).database or ""
    await pgbouncer.open_all(database)
    url = pgbouncer.url(database)
    return Place(
        postgres_dsn, lambda: postgres_store(url, clock, direct_url=postgres_dsn, pool_size=4), pooler_url=url
    )


@pytest.fixture(params=DATABASES)
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(f"{request.param}_place")
    return found


@pytest.fixture
def memory_place(clock: TickingClock) -> Place:
    return Place("", lambda: MemoryStore(clock, is_shared=True))


@pytest.fixture(params=KINDS)
def any_place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(f"{request.param}_place")
    return found


@pytest.fixture
async def store(any_place: Place) -> AsyncIterator[Store]:
    """An open, empty store of each kind."""
    made = any_place.make()
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def replicas(any_place: Place, store: Store) -> AsyncIterator[list[Store]]:
    """Three stores on the same data, as each replica has its own; one where a process has it for itself."""
    if isinstance(store, MemoryStore):
        yield [store, store.replica(), store.replica()]
        return
    others = [any_place.make() for _ in range(2 if any_place.is_postgres else 0)]
    async with AsyncExitStack() as stack:
        for other in others:
            await other.open()
            stack.push_async_callback(other.close)
        yield [store, *others]


@pytest.fixture
def pass_time(any_place: Place, clock: TickingClock) -> Callable[[float], Awaitable[None]]:
    """Lets so many seconds pass by the clock that the store goes by."""

    async def passed(seconds: float) -> None:
        clock.time += timedelta(seconds=seconds)
        if any_place.is_postgres:
            over = await server_time(any_place.url) + seconds
            await until(lambda: _is_after(any_place.url, over))

    return passed


async def _is_after(url: str, moment: float) -> bool:
    return await server_time(url) > moment
