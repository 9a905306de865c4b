"""Leases where transactions of several hosts meet, and some of them never end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.util import await_only
from tests.service.store.conftest import SHARED, Place
from tests.service.store.inspection import until_somebody_waits
from tests.service.store.values import TickingClock, new_event, new_session, seqs

from claude_agent_http.domain.errors import LeaseLostError, StorageError
from claude_agent_http.domain.lease import Lease, Replica
from claude_agent_http.ports import Store, TranscriptKey
from claude_agent_http.store import postgres_store
from claude_agent_http.store.postgres import PostgresDatabase
from claude_agent_http.store.postgres_address import PostgresAddress

pytestmark = pytest.mark.tier("postgres")

LONG, SHORT = 60.0, 0.2  # seconds


@pytest.fixture
def any_place(postgres_place: Place) -> Place:
    return postgres_place


@pytest.fixture
async def client(postgres_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """Holds the locks that a test wants held."""
    connection = await asyncpg.connect(postgres_dsn.replace("+asyncpg", ""))
    yield connection
    connection.terminate()


@pytest.fixture(params=SHARED)
def shared_place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(f"{request.param}_place")
    return found


def database_of(place: Place, **options: Any) -> PostgresDatabase:
    """One more replica's, through the pooler where there is one."""
    direct = PostgresAddress.parse(place.url)
    if place.pooler_url is None:
        return PostgresDatabase(direct, **options)
    return PostgresDatabase(PostgresAddress.parse(place.pooler_url), direct, **options)


@pytest.mark.parametrize("is_renewed", [True, False])
async def test_a_claim_waits_for_a_renewal_that_is_under_way(
    store: Store,
    client: asyncpg.Connection,
    postgres_dsn: str,
    pass_time: Callable[[float], Awaitable[None]],
    is_renewed: bool,
) -> None:
    """Else a replica could be told that it lives on, and lose what it has all the same."""
    await store.leases.join(Replica("a", "", ""), SHORT)
    session = await store.sessions.create(new_session())
    await store.leases.claim(session.id, "a")
    renewal = client.transaction()
    await renewal.start()
    await client.execute("UPDATE replicas SET expires_at = expires_at + 60000000")
    await pass_time(SHORT)
    claim = asyncio.create_task(store.leases.claim(session.id, "b"))
    await until_somebody_waits(postgres_dsn)
    await (renewal.commit() if is_renewed else renewal.rollback())
    assert await claim == (None if is_renewed else Lease(session.id, "b", 2))
    assert await store.leases.renew("a", LONG) == is_renewed


WRITES: dict[str, Callable[[Store, TranscriptKey, Lease], Awaitable[Any]]] = {
    "append": lambda store, _key, lease: store.events.append(lease.session_id, [new_event()], lease=lease),
    "keep": lambda store, key, lease: store.transcripts.append(key, [{"uuid": "v"}], lease=lease),
    "rewind": lambda store, key, lease: store.transcripts.rewind(key, "u", lease=lease),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
@pytest.mark.parametrize("is_taken", [True, False])
async def test_a_write_waits_for_a_takeover_that_is_under_way(
    store: Store,
    client: asyncpg.Connection,
    postgres_dsn: str,
    write: Callable[[Store, TranscriptKey, Lease], Awaitable[Any]],
    is_taken: bool,
) -> None:
    session = await store.sessions.create(new_session())
    key = TranscriptKey("p", session.id)
    await store.transcripts.append(key, [{"uuid": "u"}])
    lease = await store.leases.claim(session.id, "a")
    assert lease is not None
    takeover = client.transaction()
    await takeover.start()
    await client.execute("UPDATE sessions SET lease_holder = 'b', lease_epoch = lease_epoch + 1")
    writing = asyncio.ensure_future(write(store, key, lease))
    await until_somebody_waits(postgres_dsn)
    if is_taken:
        await takeover.commit()
        with pytest.raises(LeaseLostError):
            await writing
        assert await store.transcripts.load(key) == [{"uuid": "u"}]
        assert await store.events.read(session.id) == []
    else:
        await takeover.rollback()
        await writing


async def test_who_leaves_waits_for_others_without_standing_in_their_way(
    store: Store, client: asyncpg.Connection, postgres_dsn: str
) -> None:
    """Transactions lock sessions in order of id."""
    await store.leases.join(Replica("a", "", ""), LONG)
    last, first = [await store.sessions.create(new_session(id=session_id)) for session_id in ("z", "a")]
    for session in (last, first):
        await store.leases.claim(session.id, "a")
    async with client.transaction():
        await client.execute("SELECT FROM sessions WHERE id = 'a' FOR UPDATE")
        leaving = asyncio.create_task(store.leases.leave("a"))
        await until_somebody_waits(postgres_dsn)
        await client.execute("SELECT FROM sessions WHERE id = 'z' FOR UPDATE NOWAIT")
    await leaving
    assert [(await store.sessions.get(each)).lease_holder for each in "az"] == [None, None]


async def test_a_renewal_does_not_wait_for_a_busy_pool(
    postgres_dsn: str, clock: TickingClock, client: asyncpg.Connection
) -> None:
    store = postgres_store(postgres_dsn, clock, pool_size=1)
    await store.open()
    await store.leases.join(Replica("a", "", ""), LONG)
    session = await store.sessions.create(new_session())
    async with client.transaction():
        await client.execute("SELECT FROM sessions FOR UPDATE")
        append = asyncio.create_task(store.events.append(session.id, [new_event()]))
        await until_somebody_waits(postgres_dsn)
        waiting = [asyncio.create_task(store.sessions.get(session.id)) for _ in range(20)]
        async with asyncio.timeout(2):
            assert await store.leases.renew("a", LONG) == 1
            await store.ping()
        assert not any(task.done() for task in (append, *waiting))
    assert seqs(await append) == [1]
    await asyncio.gather(*waiting)
    await store.close()


async def test_a_host_that_dies_amid_a_transaction_does_not_keep_its_sessions_locked(
    shared_place: Place,
) -> None:
    store = shared_place.make()
    await store.open()
    session = await store.sessions.create(new_session())
    dead = database_of(shared_place, abandoned_seconds=0.3)
    locked, forever = asyncio.Event(), asyncio.Event()

    def lock_and_fall_silent(connection: Connection) -> None:
        connection.execute(text("SELECT FROM sessions FOR UPDATE"))
        locked.set()
        await_only(forever.wait())
        connection.execute(text("SELECT 1"))

    transaction = asyncio.create_task(dead.write(lock_and_fall_silent))
    await locked.wait()
    async with asyncio.timeout(5):
        assert await store.leases.claim(session.id, "b") == Lease(session.id, "b", 1)
    forever.set()
    with pytest.raises(StorageError, match="try again"):
        await transaction
    await dead.close()
    await store.close()


async def test_no_connection_keeps_an_abandoned_transaction(shared_place: Place) -> None:
    database = database_of(shared_place)
    ask = text("SHOW idle_in_transaction_session_timeout")

    def shown(connection: Connection) -> str:
        return str(connection.execute(ask).scalar_one())

    for run in (database.read, database.write, database.migrate):
        assert await run(shown) == "10s"
    assert await database.urgent(shown, patience=1) == "1s"
    await database.close()
