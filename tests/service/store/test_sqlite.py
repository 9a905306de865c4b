"""What only SQLite has: a file in a folder, and query plans that a test can read."""
# ruff: noqa: ASYNC240 - what is tested here are files

import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event
from tests.service.store.conftest import Place
from tests.service.store.values import START, TickingClock, new_event, new_session

from claude_agent_http.domain.errors import StorageError
from claude_agent_http.domain.event import EventType
from claude_agent_http.domain.lease import Replica
from claude_agent_http.domain.session import SessionStatus
from claude_agent_http.ports import TranscriptKey
from claude_agent_http.store import migrate, sqlite_store
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
    connection = sqlite3.connect(sqlite_place.url.removeprefix("sqlite:///"))
    for statement, parameters in statements:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
        whole = {step for step in plan if step.startswith("SCAN") and "INDEX" not in step}
        assert whole <= {"SCAN replicas", "SCAN CONSTANT ROW"}, (statement, plan)  # never more than a few
    connection.close()


async def test_what_was_deleted_is_not_in_the_file_any_more(sqlite_place: Place) -> None:
    """Once the log is folded into it, as at the end of the service."""
    store = sqlite_place.make()
    await store.open()
    sessions = {text: await store.sessions.create(new_session(user_id=text)) for text in ("kept", "gone")}
    for text, session in sessions.items():
        for number in range(50):
            await store.events.append(session.id, [new_event(data={"text": f"{text} {number}" * 50})])
            await store.transcripts.append(TranscriptKey("agent", session.id), [{"text": text * 50}])
    await store.sessions.delete(sessions["gone"].id)
    await store.close()
    content = Path(sqlite_place.url.removeprefix("sqlite:///")).read_bytes()
    assert b"kept" in content
    assert b"gone" not in content
    assert sessions["gone"].id.encode() not in content
