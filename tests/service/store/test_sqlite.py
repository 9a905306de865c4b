"""What only SQLite has: a file in a folder, and query plans that a test can read."""

import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event
from tests.service.store.conftest import Place
from tests.service.store.released import API_KEY, AUDITED, USAGE_DAY, USED
from tests.service.store.values import START, TickingClock, new_event, new_session

from claude_agent_http.domain.audit import AuditFilter
from claude_agent_http.domain.errors import StorageError
from claude_agent_http.domain.event import EventType
from claude_agent_http.domain.lease import Replica
from claude_agent_http.domain.session import Session, SessionStatus
from claude_agent_http.domain.usage import Account, UsageBatch
from claude_agent_http.ports import Store, TranscriptKey
from claude_agent_http.store import migrate, sqlite, sqlite_store
from claude_agent_http.store.sqlite import SqliteDatabase, Synchronous


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, clock: TickingClock) -> None:
    (tmp_path / "file").write_text("")
    store = sqlite_store(tmp_path / "file" / "agents.db", clock)
    with pytest.raises(StorageError, match=r"folder .*/file: .*uid \d+"):
        await store.open()


async def test_a_file_that_is_no_database_is_named(tmp_path: Path, clock: TickingClock) -> None:
    path = tmp_path / "agents.db"
    path.write_bytes(b"not a database, but long enough to look at" * 50)
    with pytest.raises(StorageError, match=r"agents\.db: the file is not an SQLite database"):
        await sqlite_store(path, clock).open()


async def test_a_folder_in_the_place_of_the_file_is_named(tmp_path: Path, clock: TickingClock) -> None:
    with pytest.raises(StorageError, match="cannot be opened"):
        await sqlite_store(tmp_path, clock).open()


async def test_a_reader_of_another_program_does_not_disturb(sqlite_place: Place) -> None:
    store = sqlite_place.make()
    await store.open()
    session = await store.sessions.create(new_session())
    reader = sqlite3.connect(sqlite_place.url.removeprefix("sqlite:///"), isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM events").fetchone() == (0,)
    await store.events.append(session.id, [new_event()])
    assert reader.execute("SELECT count(*) FROM events").fetchone() == (0,)
    reader.close()
    await store.close()


@pytest.mark.parametrize(("mode", "number"), [("FULL", 2), ("NORMAL", 1)])
async def test_every_connection_is_set_up(tmp_path: Path, mode: Synchronous, number: int) -> None:
    database = SqliteDatabase(tmp_path / "agents.db", synchronous=mode)
    await database.connect()

    def pragmas(connection: Connection) -> list[Any]:
        names = ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in names]

    assert await database.read(pragmas) == ["wal", number, 1, 1]
    assert await database.write(pragmas) == ["wal", number, 1, 1]
    await database.close()


@pytest.fixture
def statements() -> Iterator[list[tuple[str, Any]]]:
    """Every SELECT, UPDATE and DELETE that runs during the test, with its parameters."""
    seen: list[tuple[str, Any]] = []

    def remember(_c, _cursor, statement, parameters, _context, executemany) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE")):
            seen.append((statement, parameters[0] if executemany else parameters))

    event.listen(Engine, "before_cursor_execute", remember)
    yield seen
    event.remove(Engine, "before_cursor_execute", remember)


async def test_no_query_reads_a_whole_table(
    sqlite_place: Place, statements: list[tuple[str, Any]], clock: TickingClock
) -> None:
    await migrate(sqlite_place.url)
    store = sqlite_place.make()
    await store.open()
    statements.clear()
    one, two = [await store.sessions.create(new_session(idempotency_key=key)) for key in ("k", "l")]
    await store.sessions.create(one)
    for session in (one, two):
        await store.events.append(session.id, [new_event(), new_event()])
        await store.events.read(session.id, after=1, types=frozenset({EventType.AGENT_MESSAGE}))
    await store.sessions.list_ids(user_id=None, limit=5, after=one.id)
    await store.sessions.list_ids(user_id="ann", limit=5, after=one.id)
    await store.sessions.heads([one.id, two.id])
    await store.leases.join(Replica("a", "", ""), 60)
    lease = await store.leases.claim(one.id, "a")
    assert lease is not None
    assert await store.leases.claim(one.id, "b") is None
    await store.leases.renew("a", 60)
    await store.leases.has_stopped(lease)
    await store.leases.orphans("b", 9)
    await store.leases.is_alone(lease)
    await store.leases.held("a")
    await store.events.append(one.id, [new_event()], lease=lease, opens_turn=True)
    await store.sessions.count(SessionStatus.ACTIVE)
    await store.sessions.close_unused(START - timedelta(days=1))
    key = TranscriptKey("p", one.id)
    await store.transcripts.append(key, [{"uuid": "a"}], lease=lease)
    await store.transcripts.load(key)
    await store.transcripts.subpaths("p", one.id)
    await store.transcripts.sessions("p")
    await store.transcripts.rewind(key, "a", lease=lease)
    await store.transcripts.delete(key)
    await store.leases.release(lease)
    await store.leases.leave("a")
    await store.sessions.delete(one.id)
    await store.close()
    assert len(statements) >= 30
    check_plans(sqlite_place, statements)


async def test_no_query_about_keys_usage_or_the_audit_reads_a_whole_table(
    sqlite_place: Place, statements: list[tuple[str, Any]]
) -> None:
    await migrate(sqlite_place.url)
    store = sqlite_place.make()
    await store.open()
    statements.clear()
    keys, usage, audit = store.api_keys, store.usage, store.audit
    await keys.add(API_KEY)
    await keys.get(API_KEY.id)
    await keys.page(limit=9, after=API_KEY.id)
    await keys.used({API_KEY.id: START})
    await keys.revoke(API_KEY.id, START)
    await keys.delete_of("ann")
    await usage.add(UsageBatch("w", 1, ((Account("ann", "s", "m", USAGE_DAY), USED),)))
    await usage.of_session("s")
    await usage.total_of_session("s")
    for user_id in ("ann", None):
        await usage.of_days(USAGE_DAY, USAGE_DAY, user_id=user_id)
        await usage.total_of_day(USAGE_DAY, user_id=user_id)
    await usage.erase("ann", USAGE_DAY)
    await usage.forget_erased(USAGE_DAY)
    await audit.add([AUDITED])
    for wanted in (AuditFilter(), AuditFilter(user_id="ann"), AuditFilter(session_id="s")):
        await audit.page(wanted, limit=9, before=AUDITED.id)
    await audit.page(AuditFilter(credential="key:a", since=START), limit=9)
    await audit.delete_before(START, limit=9)
    await store.close()
    assert len(statements) >= 20
    check_plans(sqlite_place, statements)


def check_plans(place: Place, statements: list[tuple[str, Any]]) -> None:
    """That none reads a whole table, but for those that never hold more than a few rows."""
    connection = sqlite3.connect(place.url.removeprefix("sqlite:///"))
    for statement, parameters in statements:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
        whole = {step for step in plan if step.startswith("SCAN") and "INDEX" not in step}
        assert whole <= {"SCAN replicas", "SCAN usage_writers", "SCAN CONSTANT ROW"}, (statement, plan)
    connection.close()


def files_of(place: Place) -> bytes:
    """The database with all that stands beside it."""
    path = Path(place.url.removeprefix("sqlite:///"))
    return b"".join(file.read_bytes() for file in path.parent.iterdir())


async def make_and_delete(store: Store) -> Session:
    sessions = {text: await store.sessions.create(new_session(user_id=text)) for text in ("kept", "gone")}
    for text, session in sessions.items():
        for number in range(50):
            await store.events.append(session.id, [new_event(data={"text": f"{text} {number}" * 50})])
            await store.transcripts.append(TranscriptKey("agent", session.id), [{"text": text * 50}])
    await store.sessions.delete(sessions["gone"].id)
    return sessions["gone"]


async def test_what_was_deleted_is_in_no_file_any_more_at_the_end(sqlite_place: Place) -> None:
    store = sqlite_place.make()
    await store.open()
    gone = await make_and_delete(store)
    await store.close()
    content = files_of(sqlite_place)
    assert b"kept" in content
    assert b"gone" not in content
    assert gone.id.encode() not in content


async def test_what_was_deleted_is_in_no_file_any_more_after_a_scrub(sqlite_place: Place) -> None:
    store = sqlite_place.make()
    await store.open()
    gone = await make_and_delete(store)
    assert b"gone" in files_of(sqlite_place)
    assert await store.scrub()
    content = files_of(sqlite_place)
    assert b"kept" in content
    assert b"gone" not in content
    assert gone.id.encode() not in content
    await store.sessions.create(new_session())
    await store.close()


async def test_a_scrub_tells_when_another_program_reads_what_was_deleted(
    sqlite_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_BUSY_SECONDS", 0.1)
    store = sqlite_place.make()
    await store.open()
    reader = sqlite3.connect(sqlite_place.url.removeprefix("sqlite:///"), isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM sessions").fetchall()
    await make_and_delete(store)
    assert not await store.scrub()
    reader.close()
    assert await store.scrub()
    await store.close()
