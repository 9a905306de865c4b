"""What other replicas append reaches all who follow the session here, by one read for all of them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.waiting import until

from claude_agent_http.domain.errors import StorageError
from claude_agent_http.domain.event import Delta, Event, EventType, Followed, NewEvent
from claude_agent_http.domain.session import Session
from claude_agent_http.engine.follow import Follower
from claude_agent_http.engine.hub import Hub
from claude_agent_http.engine.news import News
from claude_agent_http.ports import EventLog
from claude_agent_http.store import memory_store
from claude_agent_http.system.clock import SystemClock

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ID = "session"


class CountedLog:
    def __init__(self, log: EventLog) -> None:
        self._log = log
        self.append = log.append
        self.reads = 0
        self.failures: list[Exception] = []

    async def read(self, session_id: str, **more: Any) -> list[Event]:
        self.reads += 1
        await asyncio.sleep(0)  # as a database does, so that others come between
        if self.failures:
            raise self.failures.pop()
        return await self._log.read(session_id, **more)


@dataclass
class World:
    log: CountedLog
    hub: Hub = field(default_factory=Hub)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    appended: int = 0

    def __post_init__(self) -> None:
        self.news = News(self.log, self.hub)

    async def follow(self, *, deltas: bool = False) -> list[Followed]:
        """What a new reader sees, from now on."""
        seen: list[Followed] = []
        follower = Follower(self.log, self.hub, ID, after=0, deltas=deltas)

        async def read() -> None:
            with self.hub.subscribe(ID, deltas=deltas) as subscription:
                async for item in follower.items(subscription):
                    seen.append(item)

        before = self.log.reads
        self.tasks.append(asyncio.create_task(read()))
        await until(lambda: self.log.reads > before and len(seen) == self.appended)
        return seen

    async def append(self, count: int = 1, *, told: bool = True) -> None:
        """By another replica, which tells of it."""
        numbers = range(self.appended + 1, self.appended + count + 1)
        await self.log.append(ID, [NewEvent(f"sevt_{n}", EventType.AGENT_MESSAGE, {}) for n in numbers])
        self.appended += count
        if told:
            self.news.appended(ID, self.appended)

    async def all_see_all(self, readers: Sequence[list[Followed]]) -> None:
        await until(lambda: all(len(seen) == self.appended for seen in readers))
        for seen in readers:
            assert [item.seq for item in seen if isinstance(item, Event)] == [*range(1, self.appended + 1)]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    store = memory_store(SystemClock())
    await store.sessions.create(Session(ID, "alice", None, "/x", NOW, NOW, "digest"))
    made = World(CountedLog(store.events))
    yield made
    await made.news.stop()
    made.hub.close()
    await asyncio.gather(*made.tasks)


async def test_one_read_serves_every_reader(world: World) -> None:
    readers = [await world.follow() for _ in range(20)]
    await world.append()
    await world.all_see_all(readers)
    before = world.log.reads
    await world.append(3)
    await world.all_see_all(readers)
    assert world.log.reads == before + 1


async def test_what_is_appended_while_it_reads_comes_too(world: World) -> None:
    readers = [await world.follow() for _ in range(3)]
    for _ in range(30):
        await world.append()
    await world.all_see_all(readers)


async def test_who_comes_later_sees_everything_once(world: World) -> None:
    readers = [await world.follow()]
    await world.append(5)
    await world.all_see_all(readers)
    await world.append(5, told=False)
    readers.append(await world.follow())
    await world.append(5)
    await world.all_see_all(readers)


async def test_nothing_is_read_where_nobody_follows(world: World) -> None:
    await world.append(5)
    await world.append(5)
    assert world.log.reads == 0


async def test_after_a_long_silence_each_reads_for_itself(world: World) -> None:
    readers = [await world.follow()]
    await world.append()
    await world.append(2000, told=False)
    await world.append()
    await world.all_see_all(readers)


async def test_a_read_that_fails_is_left_to_the_readers(world: World) -> None:
    readers = [await world.follow()]
    await world.append()
    await world.all_see_all(readers)
    world.log.failures = [StorageError("away")]
    await world.append()
    await world.all_see_all(readers)
    await world.append()
    await world.all_see_all(readers)


async def test_a_session_that_began_anew_under_its_id_is_told_of(world: World) -> None:
    readers = [await world.follow()]
    world.news.appended(ID, 57)  # of the one before
    world.news.keep({ID: 0}, world.hub.followed())
    await world.append()
    await world.all_see_all(readers)


async def test_a_delta_that_comes_behind_its_message_is_not_shown(world: World) -> None:
    seen = await world.follow(deltas=True)
    await world.append()
    await world.append()
    await world.all_see_all([seen])
    world.hub.pass_on(Delta(ID, "sevt_2", EventType.AGENT_MESSAGE, 0, "late"), ID)
    await world.append()
    await world.all_see_all([seen])
