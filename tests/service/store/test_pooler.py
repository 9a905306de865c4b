"""What only a transaction pooler has: server connections that change, a second address, a start of its own.

The suites of the other files run over one as well: `pgbouncer` is a kind of `place`."""

import asyncio
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection, make_url, text
from tests.pgbouncer import PgBouncer, start_pgbouncer
from tests.postgres import PostgresServer
from tests.service.store.conftest import Place
from tests.service.store.inspection import end_connections
from tests.service.store.values import TickingClock, new_event, new_session, seqs, whole_log
from tests.waiting import until

from claude_agent_http.domain.errors import StorageError
from claude_agent_http.store import current_revision, migrate, postgres_store
from claude_agent_http.store.postgres import PostgresDatabase
from claude_agent_http.store.postgres_address import PostgresAddress

pytestmark = pytest.mark.tier("postgres", "pgbouncer")


@pytest.fixture
def short_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pgb-") as folder:
        yield Path(folder)


async def test_the_server_connection_changes_from_one_transaction_to_the_next(
    pgbouncer_place: Place, postgres_dsn: str, pgbouncer: PgBouncer
) -> None:
    client = await pgbouncer.connect(make_url(postgres_dsn).database or "")
    answered = [await client.fetchval("SELECT pg_backend_pid()") for _ in range(6)]
    await client.close()
    assert len(set(answered)) == 3
    assert client.get_server_pid() not in answered


@pytest.mark.parametrize("pooled", [True, False])
async def test_statements_are_kept_by_the_server_only_where_they_are_found_again(
    pgbouncer_place: Place, pooled: bool
) -> None:
    direct = PostgresAddress.parse(pgbouncer_place.url)
    address = PostgresAddress.parse(pgbouncer_place.pooler_url or "") if pooled else direct
    database = PostgresDatabase(address, direct if pooled else None, pool_size=1)
    await database.connect(exclusive=False)

    def kept(connection: Connection) -> int:
        return int(connection.execute(text("SELECT count(*) FROM pg_prepared_statements")).scalar_one())

    counts = [await database.read(kept) for _ in range(6)]
    await database.close()
    assert (max(counts) > 0) is not pooled


async def test_dropped_connections_are_not_noticed(pgbouncer_place: Place) -> None:
    store = pgbouncer_place.make()
    await store.open()
    session = await store.sessions.create(new_session())
    for number in range(1, 4):
        await end_connections(pgbouncer_place.url)
        assert seqs(await store.events.append(session.id, [new_event()])) == [number]
        await end_connections(pgbouncer_place.url)
        assert len(await store.events.read(session.id)) == number
    await store.close()


def _has_grown(acknowledged: list[str], wanted: int) -> bool:
    return len(acknowledged) >= wanted


async def test_connections_that_end_amid_appends_lose_nothing(pgbouncer_place: Place) -> None:
    store = pgbouncer_place.make()
    await store.open()
    session = await store.sessions.create(new_session())
    acknowledged: list[str] = []
    ending = asyncio.Event()

    async def append_until_the_end() -> None:
        while not ending.is_set():
            event = new_event()
            try:
                await store.events.append(session.id, [event])
            except StorageError:
                continue  # twice in a row: the retry was hit too
            acknowledged.append(event.id)

    appenders = [asyncio.create_task(append_until_the_end()) for _ in range(8)]
    for _ in range(10):
        await end_connections(pgbouncer_place.url)
        before = len(acknowledged)
        await until(partial(_has_grown, acknowledged, before + 5), 10)
    ending.set()
    await asyncio.gather(*appenders)
    log = await whole_log(store, session.id)
    assert seqs(log) == list(range(1, len(log) + 1))
    assert len({event.id for event in log}) == len(log)
    assert set(acknowledged) <= {event.id for event in log}
    await store.close()


async def test_a_pooler_may_start_late_and_start_again(
    postgres_server: PostgresServer, postgres_dsn: str, short_folder: Path, clock: TickingClock
) -> None:
    url = PgBouncer(short_folder).url(make_url(postgres_dsn).database or "")
    store = postgres_store(url, clock, direct_url=postgres_dsn)
    opening = asyncio.create_task(store.open())
    await asyncio.wait([opening], timeout=0.2)
    assert not opening.done()
    with start_pgbouncer(postgres_server, short_folder):
        await asyncio.wait_for(opening, 10)
        session = await store.sessions.create(new_session())
    with pytest.raises(StorageError, match=rf"{short_folder}:6432"):
        await store.events.append(session.id, [new_event()])
    with start_pgbouncer(postgres_server, short_folder):
        assert seqs(await store.events.append(session.id, [new_event()])) == [1]
        assert (await store.sessions.get(session.id)).last_seq == 1
        await store.close()


async def test_a_pooler_that_is_not_known_as_such_is_refused(
    pgbouncer_place: Place, clock: TickingClock
) -> None:
    url = pgbouncer_place.pooler_url or ""
    told = "a connection pooler answers there; name the server itself by session.pg_direct_host"
    with pytest.raises(StorageError, match=told):
        await postgres_store(url, clock).open()
    with pytest.raises(StorageError, match=told):
        await migrate(url)
    with pytest.raises(StorageError, match=told):
        await current_revision(url)


async def test_a_pooler_taken_for_the_server_keeps_no_statements_and_that_is_told(
    pgbouncer_place: Place,
) -> None:
    pooler = PostgresAddress.parse(pgbouncer_place.pooler_url or "")
    database = PostgresDatabase(pooler, pooler, pool_size=1)
    await database.connect(exclusive=False)

    async def read_often() -> None:
        for _ in range(9):
            await database.read(lambda connection: connection.execute(text("SELECT 1")).scalar_one())

    with pytest.raises(StorageError, match=r"keeps no prepared statements .*session\.pg_direct_host"):
        await read_often()
    await database.close()


async def test_a_pooler_in_session_mode_is_named_twice(
    postgres_server: PostgresServer, postgres_dsn: str, short_folder: Path, clock: TickingClock
) -> None:
    url = PgBouncer(short_folder).url(make_url(postgres_dsn).database or "")
    with start_pgbouncer(postgres_server, short_folder, "pool_mode = session", "default_pool_size = 20"):
        store = postgres_store(url, clock, direct_url=url)
        await store.open()
        sessions = await asyncio.gather(*(store.sessions.create(new_session()) for _ in range(30)))
        for session in sessions:
            assert seqs(await store.events.append(session.id, [new_event(), new_event()])) == [1, 2]
        await store.close()


async def test_a_direct_address_where_nobody_answers_is_named(
    pgbouncer_place: Place, short_folder: Path
) -> None:
    direct = pgbouncer_place.url.split("?", maxsplit=1)[0] + f"?host={short_folder}"
    with pytest.raises(StorageError, match=rf"{short_folder}:5432 as 'postgres': "):
        await current_revision(pgbouncer_place.pooler_url or "", direct_url=direct, start_seconds=0.2)


async def test_a_database_that_is_not_there_is_named_at_once(
    pgbouncer: PgBouncer, postgres_server: PostgresServer, clock: TickingClock
) -> None:
    store = postgres_store(pgbouncer.url("missing"), clock, direct_url=postgres_server.url("missing"))
    with pytest.raises(StorageError, match=r"'missing'.*does not exist; create it"):
        await store.open()


async def test_a_pooler_that_refuses_sends_to_its_log(
    postgres_server: PostgresServer, postgres_dsn: str, short_folder: Path
) -> None:
    url = PgBouncer(short_folder).url(make_url(postgres_dsn).database or "")
    told = r"a connection pooler refused .*look at its log"
    with (
        start_pgbouncer(postgres_server, short_folder, "max_client_conn = 0"),
        pytest.raises(StorageError, match=told),
    ):
        await current_revision(url, direct_url=postgres_dsn, start_seconds=0.2)
