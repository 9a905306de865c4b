"""Events and transcripts share one queue of writes."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import Engine, event
from tests.service.store.conftest import Place
from tests.service.store.values import TickingClock, new_event, new_session

from claude_agent_http.domain import vocabulary
from claude_agent_http.ports import TranscriptKey
from claude_agent_http.store.database import Work
from claude_agent_http.store.sql import SqlStore
from claude_agent_http.store.sqlite import SqliteDatabase
from claude_agent_http.store.wakeups import NoWakeups

T = TypeVar("T")
KEY = TranscriptKey("project", "session")


class CountedDatabase(SqliteDatabase):
    """Counts its transactions; `begun` is set by each, and each waits for `gate`."""

    writes = 0

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.gate, self.begun = asyncio.Event(), asyncio.Event()
        self.gate.set()

    async def write(self, work: Work[T], *, repeatable: bool = False) -> T:
        self.writes += 1
        self.begun.set()
        await self.gate.wait()
        return await super().write(work, repeatable=repeatable)


@pytest.fixture
async def database(tmp_path: Path) -> CountedDatabase:
    return CountedDatabase(tmp_path / "service.db")


async def test_what_comes_in_while_a_transaction_runs_shares_the_next(database: CountedDatabase) -> None:
    store = SqlStore(database, TickingClock(), NoWakeups())
    await store.open()
    session = new_session()
    await store.sessions.create(session)
    database.writes = 0
    database.begun.clear()
    database.gate.clear()

    async def say(number: int) -> None:
        await store.events.append(session.id, [vocabulary.user_message(f"sevt_{number}", "hi")])

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(say(0))
        await database.begun.wait()
        for number in (1, 2):
            tasks.create_task(store.transcripts.append(KEY, [{"uuid": str(number)}]))
            tasks.create_task(say(number))
        await asyncio.sleep(0)  # All have been submitted.
        database.gate.set()

    assert database.writes == 2
    assert [event.seq for event in await store.events.read(session.id)] == [1, 2, 3]
    assert await store.transcripts.load(KEY) == [{"uuid": "1"}, {"uuid": "2"}]
    await store.close()


@pytest.fixture
def statements() -> Iterator[list[str]]:
    """The first word of every statement that runs during the test, but for the begin of transactions."""
    seen: list[str] = []

    def remember(_c, _cursor, statement, *_) -> None:
        if (word := statement.split()[0]) != "BEGIN":
            seen.append(word)

    event.listen(Engine, "before_cursor_execute", remember)
    yield seen
    event.remove(Engine, "before_cursor_execute", remember)


async def test_a_lease_costs_an_append_no_statement(place: Place, statements: list[str]) -> None:
    store = place.make()
    await store.open()
    session = await store.sessions.create(new_session())
    key = TranscriptKey("p", session.id)
    granted = await store.leases.claim(session.id, "a")
    # Behind a pooler each transaction says itself how long it may be left alone.
    first = ["SET"] if place.pooler_url else []
    for lease in (None, granted):
        for opens_turn in (False, True):
            statements.clear()
            events = [new_event(), new_event()]
            await store.events.append(session.id, events, lease=lease, opens_turn=opens_turn)
            assert statements == [*first, "SELECT", "SELECT", "UPDATE", "INSERT"]
        statements.clear()
        await asyncio.gather(  # in one transaction: the session is locked once
            store.transcripts.append(key, [{"n": 1}, {"n": 2}], lease=lease),
            store.events.append(session.id, [new_event()], lease=lease),
        )
        assert statements == [*first, "SELECT", "SELECT", "UPDATE", "INSERT", "INSERT"]
        statements.clear()
        await store.transcripts.append(key, [{"n": 1}, {"n": 2}], lease=lease)
        assert statements == [*first, *(["SELECT", "INSERT"] if lease else ["INSERT"])]
    await store.close()
