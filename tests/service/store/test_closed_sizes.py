"""What closed sessions take, on every store: measured once after their last use."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, delete, event, insert, select
from tests.service.store.conftest import Place
from tests.service.store.inspection import in_database
from tests.service.store.values import DAY, START, closed, new_event, new_session

from claude_agent_http.domain.event import EventType
from claude_agent_http.domain.session import SessionStatus
from claude_agent_http.ports import Store, TranscriptKey
from claude_agent_http.store import closed_sizes, tables
from claude_agent_http.store.database import Database
from claude_agent_http.store.session_rows import FIELDS


async def test_the_last_used_are_kept_as_far_as_there_is_room(store: Store) -> None:
    for day in (3, 1, 2):
        await closed(store, day, "x" * 1000)
    await closed(store, 0, "x" * 100_000, status=SessionStatus.ACTIVE)
    assert await store.sessions.excess(4000) is None
    assert await store.sessions.excess(2500) == START + DAY
    assert await store.sessions.excess(1500) == START + 2 * DAY
    assert await store.sessions.excess(0) == START + 3 * DAY


async def test_transcripts_count_too_and_in_bytes(store: Store) -> None:
    session = await closed(store, 1)
    for subpath in ("", "subagents/a"):
        await store.transcripts.append(TranscriptKey("p", session.id, subpath), [{"text": "\u20ac" * 100}])
    assert await store.sessions.excess(1100) == START + DAY  # the euro sign is six bytes of JSON
    assert await store.sessions.excess(1400) is None


async def test_a_session_that_was_used_again_is_measured_again(store: Store) -> None:
    session = await closed(store, 0, "x" * 1000)
    assert await store.sessions.excess(2000) is None
    await store.events.append(session.id, [new_event(data={"text": "x" * 2000})])
    await store.sessions.set_status(session.id, SessionStatus.CLOSED, START)
    assert await store.sessions.excess(3000) == START
    await store.transcripts.append(TranscriptKey("p", session.id, ""), [{"text": "x" * 1000}])
    await store.sessions.set_status(session.id, SessionStatus.CLOSED, START + DAY)
    assert await store.sessions.excess(4000) == START + DAY
    await store.sessions.delete(session.id)
    await closed(store, 0, "x" * 1000, id=session.id)
    assert await store.sessions.excess(2000) is None


@dataclass
class CountedReads:
    """A database that counts what is read of it, and what is measured."""

    database: Database
    rows: int = 0
    statements: list[str] = field(default_factory=list)

    async def read(self, work: Callable[[Connection], Any]) -> Any:
        def counted(connection: Connection) -> Any:
            event.listen(connection, "before_cursor_execute", self._note)
            try:
                return work(connection)
            finally:
                event.remove(connection, "before_cursor_execute", self._note)

        found = await self.database.read(counted)
        self.rows += len(found) if isinstance(found, list) else 1
        return found

    def _note(self, _connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        self.statements.append(statement)

    async def write(self, work: Callable[[Connection], Any], **options: Any) -> Any:
        return await self.database.write(work, **options)

    @property
    def measured(self) -> bool:
        """Whether events or transcripts were read."""
        return any(re.search(r"FROM (events|transcript_entries)", each) for each in self.statements)


def insert_closed(connection: Connection, count: int) -> None:
    """Closed sessions of 100 bytes, each used a second after the one before."""
    made = new_session(status=SessionStatus.CLOSED, last_seq=1)
    rows = [
        {name: getattr(made, name) for name in FIELDS}
        | {"id": f"s{number:05}", "last_active_at": START + timedelta(seconds=number)}
        for number in range(count)
    ]
    of_each = {"seq": 1, "id": "e", "type": EventType.USER_MESSAGE, "processed_at": START, "data": "x" * 100}
    connection.execute(insert(tables.sessions), rows)
    connection.execute(insert(tables.events), [{"session_id": row["id"]} | of_each for row in rows])


async def test_a_look_at_10_000_closed_sessions_reads_few_rows(place: Place) -> None:
    store = place.make()
    await store.open()
    await in_database(place.url, lambda connection: insert_closed(connection, 10_000))
    assert await store.sessions.excess(1_000_000) is None
    parts = vars(store.sessions)
    counted = parts["_database"] = CountedReads(parts["_database"])
    assert await store.sessions.excess(1_000_000) is None
    assert await store.sessions.excess(999_999) == START
    assert await store.sessions.excess(50) == START + timedelta(seconds=9_999)
    assert counted.rows <= 6
    assert not counted.measured
    # As an older replica leaves it: opened, used and closed again, and nothing kept of it.
    late = START + DAY
    await store.events.append("s00007", [new_event(data={"text": "x" * 1000})])
    await store.sessions.set_status("s00007", SessionStatus.CLOSED, late)
    counted.rows = 0
    assert await store.sessions.excess(1_000_950) == START
    assert await store.sessions.excess(900) == late
    assert counted.measured
    assert counted.rows <= 10
    await store.close()


async def test_what_an_older_replica_closed_is_found(place: Place) -> None:
    store = place.make()
    await store.open()
    session = await closed(store, 0, "x" * 1000)
    other = await closed(store, 1, "x" * 1000)
    assert await store.sessions.excess(500) == START + DAY
    await in_database(place.url, lambda connection: connection.execute(_forget(session.id)) and None)
    assert await store.sessions.excess(1500) == START
    assert await store.sessions.excess(5000) is None
    await store.sessions.delete(other.id)
    kept = select(tables.closed_sizes.c.session_id)
    rows = await in_database(place.url, lambda connection: connection.execute(kept).scalars().all())
    assert rows == [session.id]
    await store.close()


def _forget(session_id: str) -> Any:
    return delete(tables.closed_sizes).where(tables.closed_sizes.c.session_id == session_id)


async def test_what_goes_while_it_is_measured_does_no_harm(place: Place, monkeypatch) -> None:
    store = place.make()
    await store.open()
    gone, kept = await closed(store, 0, "x" * 1000), await closed(store, 1, "x" * 1000)
    measure = closed_sizes._measure

    async def slow(database: Database, part: Any) -> Any:
        sizes = await measure(database, part)
        await store.sessions.delete(gone.id)
        return sizes

    monkeypatch.setattr(closed_sizes, "_measure", slow)
    assert await store.sessions.excess(1500) is None
    assert await store.sessions.excess(500) == kept.last_active_at
    await store.close()


@pytest.mark.parametrize("limit", ["_EVENTS_AT_ONCE", "_SESSIONS_AT_ONCE", "_FOUND_AT_ONCE"])
async def test_what_is_read_in_parts_is_counted_once(
    store: Store, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(closed_sizes, limit, 2)
    for day in range(3):
        session = await closed(store, day, "x" * 1000)
        await store.events.append(session.id, [new_event(data={"text": "x" * 1000}) for _ in range(4)])
        await store.sessions.set_status(session.id, session.status, session.last_active_at)
    assert await store.sessions.excess(16_000) is None
    assert await store.sessions.excess(14_900) == START
    assert await store.sessions.excess(10_200) == START
    assert await store.sessions.excess(9_900) == START + DAY


async def test_the_oldest_of_very_many_are_found(store: Store) -> None:
    for hundred in range(0, 1100, 100):  # more at once would wait too long for a connection
        await asyncio.gather(*(closed(store, (hundred + number) / 1000) for number in range(100)))
    await closed(store, -1, "x")
    assert await store.sessions.excess(0) == START - DAY
    assert await store.sessions.excess(1000) is None
