"""Every released schema becomes the newest one, with its rows; never backwards."""

import asyncio
import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.util import await_only
from tests.service.store.conftest import Place
from tests.service.store.inspection import in_database, run_script
from tests.service.store.released import (
    API_KEY,
    AUDIT_SINCE,
    AUDITED,
    DECISIONS_SINCE,
    ENTRIES,
    EVENTS,
    KEYS,
    KEYS_SINCE,
    LEASE,
    LEASES_SINCE,
    SCHEMAS,
    SESSIONS,
    SIZES_SINCE,
    USAGE_DAY,
    USAGE_SINCE,
    USED,
    write_rows,
)
from tests.service.store.values import new_event, new_session, seqs, whole_log
from tests.waiting import until

from claude_agent_http.domain.audit import AuditFilter
from claude_agent_http.domain.errors import ServiceLockedError, StorageError
from claude_agent_http.domain.lease import Lease, Replica
from claude_agent_http.domain.session import SessionPhase, SessionStatus
from claude_agent_http.domain.usage import Spending
from claude_agent_http.ports import TranscriptKey
from claude_agent_http.store import api_keys, audit_log, current_revision, migrate, schema
from claude_agent_http.store.migration import newest_script
from claude_agent_http.store.postgres import PostgresDatabase
from claude_agent_http.store.postgres_address import PostgresAddress
from claude_agent_http.store.tables import metadata

HEAD = schema.HEAD

_SQLITE_SHAPE = """
SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE '%alembic%' AND sql IS NOT NULL ORDER BY name
"""
_POSTGRES_SHAPE = """
SELECT table_name, column_name || data_type || is_nullable || coalesce(collation_name, ''), column_default
FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'alembic_version'
UNION ALL SELECT tablename, indexdef, NULL FROM pg_indexes
WHERE schemaname = 'public' AND tablename <> 'alembic_version'
UNION ALL SELECT conrelid::regclass::text, pg_get_constraintdef(oid), NULL FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'alembic_version'
ORDER BY 1, 2
"""


def _dumps(kind: str) -> list[Path]:
    return sorted(SCHEMAS.glob(f"*.{kind}.sql"))


def _revision(dump: Path) -> str:
    return dump.name.split(".")[0]


RELEASED = [
    *(pytest.param("sqlite", dump, id=dump.stem) for dump in _dumps("sqlite")),
    *(
        pytest.param("postgres", dump, id=dump.stem, marks=pytest.mark.tier("postgres"))
        for dump in _dumps("postgres")
    ),
]


@pytest.fixture
def released_place(request: pytest.FixtureRequest, kind: str) -> Place:
    found: Place = request.getfixturevalue(f"{kind}_place")
    return found


@pytest.mark.parametrize(("kind", "dump"), RELEASED)
async def test_a_released_schema_becomes_the_newest(released_place: Place, dump: Path) -> None:
    await run_script(released_place.url, dump)
    revision = _revision(dump)
    assert await current_revision(released_place.url) == revision
    store = released_place.make()
    await store.open()

    first, second = SESSIONS
    stored = await store.sessions.get(first.id)
    assert stored == replace(
        first,
        last_active_at=stored.last_active_at,
        last_seq=len(EVENTS),
        message_count=1,
        phase=SessionPhase.RUNNING,
    )
    is_held = revision >= LEASES_SINCE
    lease: dict[str, Any] = {"lease_holder": LEASE.replica_id, "lease_epoch": LEASE.epoch} if is_held else {}
    assert await store.sessions.get(second.id) == replace(second, status=SessionStatus.CLOSED, **lease)
    assert await store.leases.has_stopped(LEASE)  # its time is long up
    claimed = await store.leases.claim(second.id, "b")
    assert claimed == Lease(second.id, "b", 2 if is_held else 1)
    assert await store.sessions.list_ids(user_id=second.user_id, limit=9) == [second.id]
    events = await store.events.read(first.id)
    assert [(event.id, event.type, event.data, event.turn_id) for event in events] == [
        (event.id, event.type, event.data, event.turn_id) for event in EVENTS
    ]
    for key in KEYS:
        assert await store.transcripts.load(key) == ENTRIES
        await store.transcripts.append(key, [*ENTRIES, {"uuid": "b"}])
        assert (await store.transcripts.load(key) or [])[2:] == [{"text": "two \x00"}, {"uuid": "b"}]

    assert await store.api_keys.get(API_KEY.id) == (API_KEY if revision >= KEYS_SINCE else None)
    used = await store.usage.total_of_day(USAGE_DAY, user_id="bob \\ \x00")
    assert used == (USED if revision >= USAGE_SINCE else Spending())
    audited = await store.audit.page(AuditFilter(), limit=9)
    undecided = replace(AUDITED, approval_id=None, decision=None)
    known = AUDITED if revision >= DECISIONS_SINCE else undecided
    assert audited == ([known] if revision >= AUDIT_SINCE else [])
    sizes = await in_database(released_place.url, lambda connection: _count(connection, "closed_sizes"))
    assert sizes == (1 if revision >= SIZES_SINCE else 0)
    assert await store.sessions.excess(0) is None

    assert seqs(await store.events.append(first.id, [EVENTS[0], new_event()])) == [1, 4]
    await store.sessions.delete(first.id)
    assert await store.events.read(first.id) == []
    await store.close()
    assert await current_revision(released_place.url) == HEAD


@pytest.mark.parametrize(("kind", "dump"), [each for each in RELEASED if str(each.id) < KEYS_SINCE])
async def test_who_only_looks_for_keys_in_an_older_schema_is_told_and_changes_nothing(
    released_place: Place, dump: Path
) -> None:
    await run_script(released_place.url, dump)
    before = await in_database(released_place.url, _shape)
    with pytest.raises(StorageError, match=r"of an older version .* knows no API keys; start this version"):
        async with api_keys(released_place.url, prepare=False):
            pass
    assert await in_database(released_place.url, _shape) == before


@pytest.mark.parametrize(("kind", "dump"), [each for each in RELEASED if AUDIT_SINCE <= str(each.id) < HEAD])
async def test_who_reads_the_audit_of_an_older_schema_is_told_and_changes_nothing(
    released_place: Place, dump: Path
) -> None:
    await run_script(released_place.url, dump)
    before = await in_database(released_place.url, _shape)
    with pytest.raises(StorageError, match=r"of an older version .* knows no audit .*; start this version"):
        async with audit_log(released_place.url):
            pass
    assert await in_database(released_place.url, _shape) == before


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_every_revision_has_its_dump(kind: str) -> None:
    config = Config()
    config.set_main_option("script_location", "claude_agent_http.store:migrations")
    revisions = sorted(each.revision for each in ScriptDirectory.from_config(config).walk_revisions())
    assert [_revision(dump) for dump in _dumps(kind)] == revisions


async def test_an_empty_database_is_migrated_once(place: Place) -> None:
    assert await migrate(place.url) == (None, HEAD)
    assert await migrate(place.url) == (HEAD, HEAD)
    assert await current_revision(place.url) == HEAD


async def test_the_migrated_schema_is_that_of_the_code(place: Place) -> None:
    await migrate(place.url)

    def differences(connection: Connection) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    assert await in_database(place.url, differences) == []


async def test_the_migrated_schema_is_that_of_the_code_to_the_last_detail(place: Place) -> None:
    """Collations, partial indexes and the like, which Alembic does not compare."""
    await migrate(place.url)
    migrated = await in_database(place.url, _shape)

    def make_anew(connection: Connection) -> None:
        metadata.drop_all(connection)
        metadata.create_all(connection)

    await in_database(place.url, make_anew)
    assert migrated == await in_database(place.url, _shape)
    assert len(migrated) > 8


def _count(connection: Connection, table: str) -> int:
    return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def _shape(connection: Connection) -> list[tuple[str, ...]]:
    query = _SQLITE_SHAPE if connection.dialect.name == "sqlite" else _POSTGRES_SHAPE
    return [tuple(" ".join(str(value).split()) for value in row) for row in connection.execute(text(query))]


def _become_newer(connection: Connection, oldest: str) -> None:
    """What a later release would do: a column and a table more, and which older code may go on."""
    for table in ("sessions", "events", "transcript_entries", "replicas"):
        connection.execute(text(f"ALTER TABLE {table} ADD COLUMN of_the_future TEXT"))
    connection.execute(text("CREATE TABLE of_the_future (id TEXT PRIMARY KEY)"))
    connection.execute(text("CREATE INDEX ix_of_the_future ON events (of_the_future)"))
    connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    connection.execute(text(f"UPDATE schema_compatibility SET oldest_revision = '{oldest}'"))


async def test_a_database_of_a_newer_version_is_refused_and_left_alone(place: Place) -> None:
    await migrate(place.url)
    await in_database(place.url, lambda connection: _become_newer(connection, "9998"))
    before = await in_database(place.url, _shape)
    for refused in (place.make().open, lambda: migrate(place.url), lambda: current_revision(place.url)):
        with pytest.raises(StorageError, match=r"9999.* run the newer version that made it, or restore"):
            await refused()
    assert await in_database(place.url, _shape) == before


@pytest.mark.parametrize("oldest", ["0001", HEAD])
async def test_a_database_of_a_newer_version_that_gets_on_with_this_one_is_used(
    place: Place, oldest: str
) -> None:
    await migrate(place.url)
    await in_database(place.url, lambda connection: _become_newer(connection, oldest))
    before = await in_database(place.url, _shape)
    assert await migrate(place.url) == ("9999", "9999")
    assert await current_revision(place.url) == "9999"
    store = place.make()
    await store.open()
    await write_rows(store)
    assert seqs(await store.events.append(SESSIONS[0].id, [new_event()], opens_turn=False)) == [4]
    await store.close()
    assert await in_database(place.url, _shape) == before


async def test_a_service_goes_on_while_a_newer_one_migrates(place: Place) -> None:
    store = place.make()
    await store.open()
    session = await store.sessions.create(new_session())
    await store.leases.join(Replica("a", "pod", "2.0.0"), 600.0)
    lease = await store.leases.claim(session.id, "a")
    key = TranscriptKey("p", session.id)
    ending = asyncio.Event()
    stored: list[int] = []

    async def work() -> None:
        while not ending.is_set():
            stored.extend(seqs(await store.events.append(session.id, [new_event()], lease=lease)))
            await store.transcripts.append(key, [{"n": len(stored)}], lease=lease)
            assert await store.leases.renew("a", 600.0) == 1
            assert (await store.sessions.get(session.id)).last_seq >= stored[-1]
            await store.sessions.create(new_session())
            await store.sessions.list_ids(user_id=None, limit=5)

    async def until_more() -> None:
        seen = len(stored)
        await until(lambda: working.done() or len(stored) > seen + 5)

    working = asyncio.create_task(work())
    await until_more()
    await in_database(place.url, lambda connection: _become_newer(connection, HEAD))
    await until_more()
    ending.set()
    await working
    assert seqs(await whole_log(store, session.id)) == stored == list(range(1, len(stored) + 1))
    await store.close()


@pytest.mark.tier("postgres")
async def test_many_starts_at_once_migrate_once(postgres_place: Place) -> None:
    outcomes = await asyncio.gather(*(migrate(postgres_place.url) for _ in range(4)))
    assert sorted(outcomes, key=str) == [(HEAD, HEAD)] * 3 + [(None, HEAD)]


@pytest.mark.tier("postgres")
async def test_a_start_waits_for_a_migration_that_is_under_way(postgres_place: Place) -> None:
    migrating = PostgresDatabase(PostgresAddress.parse(postgres_place.url))
    begun, going_on = asyncio.Event(), asyncio.Event()

    def migrate_slowly(connection: Connection) -> None:
        begun.set()
        await_only(going_on.wait())
        schema.upgrade(connection)

    migration = asyncio.create_task(migrating.migrate(migrate_slowly))
    await begun.wait()
    store = postgres_place.make()
    opening = asyncio.create_task(store.open())
    await asyncio.wait([opening], timeout=0.3)
    assert not opening.done()
    going_on.set()
    await migration
    await asyncio.wait_for(opening, 10)
    await store.sessions.create(new_session())
    await store.close()
    await migrating.close()


async def test_no_migration_while_a_service_runs(sqlite_place: Place) -> None:
    store = sqlite_place.make()
    await store.open()
    with pytest.raises(ServiceLockedError):
        await migrate(sqlite_place.url)
    assert await current_revision(sqlite_place.url) == HEAD
    await store.close()


async def test_the_revision_of_a_database_that_is_not_there(sqlite_place: Place, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="does not exist yet"):
        await current_revision(sqlite_place.url)
    assert os.listdir(tmp_path) == []


async def test_migrating_leaves_logging_alone(sqlite_place: Place) -> None:
    logger = logging.getLogger("somebody.elses")
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    await migrate(sqlite_place.url)
    assert not logger.disabled
    assert (root.level, list(root.handlers)) == before


def test_the_newest_script_is_what_the_code_calls_head() -> None:
    assert newest_script() == schema.HEAD
