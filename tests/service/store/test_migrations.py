"""Every released schema becomes the newest one, with its rows; never backwards."""

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
from tests.service.store.conftest import Place
from tests.service.store.inspection import in_database, run_script
from tests.service.store.released import ENTRIES, EVENTS, KEYS, SCHEMAS, SESSIONS
from tests.service.store.values import new_event, seqs

from claude_agent_http.domain.errors import ServiceLockedError, StorageError
from claude_agent_http.domain.session import SessionPhase, SessionStatus
from claude_agent_http.store import current_revision, migrate, schema
from claude_agent_http.store.migration import newest_script
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
    assert await current_revision(released_place.url) == dump.name.split(".")[0]
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
    assert await store.sessions.get(second.id) == replace(second, status=SessionStatus.CLOSED)
    assert await store.sessions.list_ids(user_id=second.user_id, limit=9) == [second.id]
    events = await store.events.read(first.id)
    assert [(event.id, event.type, event.data, event.turn_id) for event in events] == [
        (event.id, event.type, event.data, event.turn_id) for event in EVENTS
    ]
    for key in KEYS:
        assert await store.transcripts.load(key) == ENTRIES
        await store.transcripts.append(key, [*ENTRIES, {"uuid": "b"}])
        assert (await store.transcripts.load(key) or [])[2:] == [{"text": "two \x00"}, {"uuid": "b"}]

    assert seqs(await store.events.append(first.id, [EVENTS[0], new_event()])) == [1, 4]
    await store.sessions.delete(first.id)
    assert await store.events.read(first.id) == []
    await store.close()
    assert await current_revision(released_place.url) == HEAD


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_every_revision_has_its_dump(kind: str) -> None:
    config = Config()
    config.set_main_option("script_location", "claude_agent_http.store:migrations")
    revisions = sorted(each.revision for each in ScriptDirectory.from_config(config).walk_revisions())
    assert [dump.name.split(".")[0] for dump in _dumps(kind)] == revisions


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


def _shape(connection: Connection) -> list[tuple[str, ...]]:
    query = _SQLITE_SHAPE if connection.dialect.name == "sqlite" else _POSTGRES_SHAPE
    return [tuple(" ".join(str(value).split()) for value in row) for row in connection.execute(text(query))]


async def test_a_database_of_a_newer_version_is_refused_and_left_alone(place: Place) -> None:
    await migrate(place.url)
    await in_database(place.url, lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    with pytest.raises(StorageError, match=r"9999.*newer version"):
        await place.make().open()
    with pytest.raises(StorageError, match="9999"):
        await migrate(place.url)
    assert await current_revision(place.url) == "9999"


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
