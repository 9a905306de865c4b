"""What only Postgres has: a server that comes and goes, a pool, and other services on the same database."""

import asyncio
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from tests.postgres import PostgresServer
from tests.service.store.conftest import Place
from tests.service.store.inspection import end_connections
from tests.service.store.relay import free_port, relay
from tests.service.store.values import TickingClock, new_event, new_session, seqs, whole_log

from claude_agent_http.domain.errors import ServiceLockedError, StorageError
from claude_agent_http.ports import Store, TranscriptKey
from claude_agent_http.store import current_revision, postgres_store, postgres_url, schema
from claude_agent_http.store.postgres import PostgresDatabase
from claude_agent_http.store.postgres_address import PostgresAddress
from claude_agent_http.store.sql import SqlStore, migrate
from claude_agent_http.store.wakeups import NoWakeups

_PASSWORD = "s3cret/p@ss"


def _impatient(dsn: str, clock: TickingClock) -> Store:
    address = PostgresAddress.parse(dsn)
    return SqlStore(
        PostgresDatabase(address, pool_size=2, start_seconds=0.5, lock_seconds=0.2), clock, NoWakeups()
    )


def _over_tcp(dsn: str, port: int, clock: TickingClock) -> Store:
    """The same database behind a port of ours, where a `relay` can serve it."""
    database = PostgresAddress.parse(dsn).url.database or ""
    url = postgres_url(host="127.0.0.1", port=port, username="postgres", database=database, sslmode="disable")
    return postgres_store(url, clock)


@pytest.mark.tier("postgres")
async def test_two_services_work_on_one_database(postgres_place: Place) -> None:
    one, two = postgres_place.make(), postgres_place.make()
    await one.open()
    session = await one.sessions.create(new_session())
    assert seqs(await one.events.append(session.id, [new_event()])) == [1]
    await two.open()
    appends = [store.events.append(session.id, [new_event()]) for store in (one, two) * 20]
    assert sorted(seq for stored in await asyncio.gather(*appends) for seq in seqs(stored)) == [*range(2, 42)]
    assert await one.events.read(session.id) == await two.events.read(session.id)
    await one.close()
    assert seqs(await two.events.append(session.id, [new_event()])) == [42]
    await two.close()


@pytest.mark.tier("postgres")
async def test_a_service_of_an_older_version_keeps_the_database_for_itself(
    postgres_place: Place, postgres_dsn: str, clock: TickingClock
) -> None:
    async with _old_service(postgres_dsn) as old:
        with pytest.raises(ServiceLockedError, match=r"service of an older version, .*; stop that service"):
            await _impatient(postgres_dsn, clock).open()
        with pytest.raises(StorageError):
            await _migrate_impatiently(postgres_dsn)
        assert await current_revision(postgres_dsn) is None  # nothing was done to it
        store = postgres_place.make()
        opening = asyncio.create_task(store.open())
        await asyncio.wait([opening], timeout=0.3)
        assert not opening.done()
        await old.close()
        await asyncio.wait_for(opening, 10)
    assert await current_revision(postgres_dsn) == schema.HEAD
    await store.close()


@asynccontextmanager
async def _old_service(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """Holds what versions without leases held as long as they ran."""
    connection = await asyncpg.connect(dsn.replace("+asyncpg", ""))
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", int.from_bytes(b"claude-a"))
        yield connection
    finally:
        connection.terminate()


async def _migrate_impatiently(dsn: str) -> None:
    await migrate(PostgresDatabase(PostgresAddress.parse(dsn), lock_seconds=0.2))


@pytest.mark.tier("postgres")
async def test_dropped_connections_are_not_noticed(postgres_place: Place, postgres_dsn: str) -> None:
    store = postgres_place.make()
    await store.open()
    session = await store.sessions.create(new_session())
    key = TranscriptKey("p", session.id)
    for number in range(1, 4):
        await end_connections(postgres_dsn)
        assert seqs(await store.events.append(session.id, [new_event()])) == [number]
        await end_connections(postgres_dsn)
        assert len(await store.events.read(session.id)) == number
        await end_connections(postgres_dsn)
        await store.transcripts.append(key, [{"n": number}])
        await end_connections(postgres_dsn)
        await store.ping()
    await store.close()


@pytest.mark.tier("postgres")
async def test_connections_that_end_amid_appends_lose_nothing(
    postgres_place: Place, postgres_dsn: str
) -> None:
    store = postgres_place.make()
    await store.open()
    session = await store.sessions.create(new_session())
    acknowledged: list[str] = []
    more, ending = asyncio.Event(), asyncio.Event()

    async def append_until_the_end() -> None:
        while not ending.is_set():
            event = new_event()
            try:
                await store.events.append(session.id, [event])
            except StorageError:
                continue  # twice in a row: the retry was hit too
            acknowledged.append(event.id)
            more.set()

    appenders = [asyncio.create_task(append_until_the_end()) for _ in range(8)]
    for _ in range(10):
        await end_connections(postgres_dsn)
        for _ in range(5):
            more.clear()
            await asyncio.wait_for(more.wait(), 10)
    ending.set()
    await asyncio.gather(*appenders)
    log = await whole_log(store, session.id)
    assert seqs(log) == list(range(1, len(log) + 1))
    assert len({event.id for event in log}) == len(log)
    assert set(acknowledged) <= {event.id for event in log}
    await store.close()


@pytest.mark.tier("postgres")
async def test_a_server_that_starts_late_is_waited_for(
    postgres_server: PostgresServer, postgres_dsn: str, clock: TickingClock
) -> None:
    port = free_port()
    store = _over_tcp(postgres_dsn, port, clock)
    opening = asyncio.create_task(store.open())
    await asyncio.wait([opening], timeout=0.2)
    assert not opening.done()
    async with relay(port, postgres_server.socket_folder):
        await asyncio.wait_for(opening, 10)
        await store.ping()
        await store.close()


@pytest.mark.tier("postgres")
async def test_a_server_that_falls_silent_fails_the_ping_and_then_recovers(
    postgres_server: PostgresServer, postgres_dsn: str, clock: TickingClock
) -> None:
    port = free_port()
    store = _over_tcp(postgres_dsn, port, clock)
    async with relay(port, postgres_server.socket_folder) as flowing:
        await store.open()
        session = await store.sessions.create(new_session())
        flowing.clear()
        with pytest.raises(StorageError, match="did not answer in time"):
            await asyncio.wait_for(store.ping(), 4)
        flowing.set()
        async with asyncio.timeout(10):
            await _until_it_answers(store)
        assert seqs(await store.events.append(session.id, [new_event()])) == [1]
        await store.close()


async def _until_it_answers(store: Store) -> None:
    while True:
        try:
            return await store.ping()
        except StorageError:
            continue  # over another connection that fell silent


async def test_a_server_that_never_comes_is_named_without_its_password(clock: TickingClock) -> None:
    port = free_port()
    url = postgres_url(host="127.0.0.1", port=port, username="ann", password=_PASSWORD, database="agents")
    with pytest.raises(StorageError) as caught:
        await _impatient(url, clock).open()
    assert str(caught.value).startswith(f"Postgres database 'agents' at 127.0.0.1:{port} as 'ann': ")
    assert "refused" in str(caught.value)
    _assert_no_password(caught.value)


@pytest.mark.tier("postgres")
async def test_a_database_that_is_not_there_is_named_at_once(
    postgres_server: PostgresServer, clock: TickingClock
) -> None:
    with pytest.raises(StorageError, match=r"'missing'.*does not exist; create it"):
        await postgres_store(postgres_server.url("missing"), clock).open()


@pytest.mark.tier("postgres")
async def test_more_work_than_connections_waits_its_turn(postgres_dsn: str, clock: TickingClock) -> None:
    store = postgres_store(postgres_dsn, clock, pool_size=1)
    await store.open()
    sessions = await asyncio.gather(*(store.sessions.create(new_session()) for _ in range(30)))
    assert set(await store.sessions.list_ids(user_id=None, limit=50)) == {each.id for each in sessions}
    await store.close()


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        (f"nonsense {_PASSWORD}", "not a URL"),
        (f"mysql://ann:{_PASSWORD}@host/agents", "write postgresql://"),
        (f"postgresql://ann:{_PASSWORD}@host:port/agents", "URL"),
        ("postgresql://ann:hidden@host", "write postgresql://"),
        ("postgresql://ann:hidden@host/agents?sslmod=require", "unknown parameter 'sslmod'"),
        ("postgresql://ann:hidden@host/agents?sslmode=always", "sslmode 'always'"),
        (
            "postgresql://ann:hidden@host/agents?sslmode=verify-full&sslrootcert=/missing",
            "/missing is not a file",
        ),
    ],
)
def test_a_bad_url_is_told_without_repeating_it(url: str, wrong: str, clock: TickingClock) -> None:
    with pytest.raises(StorageError, match=wrong) as caught:
        postgres_store(url, clock)
    _assert_no_password(caught.value)


def test_a_certificate_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("no certificate")
    url = f"postgresql://ann@host/agents?sslmode=verify-full&sslrootcert={tmp_path}/ca.crt"
    with pytest.raises(StorageError, match="holds no certificate"):
        PostgresAddress.parse(url)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_an_address_hides_its_password(scheme: str) -> None:
    url = postgres_url(host="db.example", username="ann", password=_PASSWORD, database="agents")
    address = PostgresAddress.parse(url.replace("postgresql", scheme, 1))
    assert address.url.password == _PASSWORD
    assert str(address) == "Postgres database 'agents' at db.example:5432 as 'ann'"
    assert _PASSWORD not in repr(address)


def _assert_no_password(error: BaseException) -> None:
    """Neither in the message nor in those of what caused it (tracebacks quote this file's lines)."""
    while True:
        told = "".join(traceback.format_exception_only(error))
        for secret in (_PASSWORD, "s3cret", "p%40ss", "hidden"):
            assert secret not in told
        if (cause := error.__cause__) is None:
            return
        error = cause
