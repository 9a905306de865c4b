"""A database that fails for a moment delays what replicas know of each other, and loses nothing of it."""

from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.service.engine.cluster import Cluster
from tests.waiting import until

from claude_agent_http.domain.errors import StorageError
from claude_agent_http.domain.event import Event, EventType
from claude_agent_http.domain.session import SessionHead
from claude_agent_http.engine import NewSession
from claude_agent_http.engine.hub import Hub
from claude_agent_http.engine.news import News
from claude_agent_http.engine.relay import Relay
from claude_agent_http.engine.watch import Watch
from claude_agent_http.ports import EventLog
from claude_agent_http.runtime.fake import Hang, Say
from claude_agent_http.store import memory_store
from claude_agent_http.system.clock import SystemClock
from claude_agent_http.system.ids import CountedIds

Types = frozenset[EventType] | None


class Blips:
    """An event log of which so many reads fail, of those that are for `fails`."""

    def __init__(self, log: EventLog, failures: int, fails: Callable[[Types], bool] = lambda _: True) -> None:
        self.append = log.append
        self.failures = failures
        self._log = log
        self._fails = fails

    async def read(self, session_id: str, *, types: Types = None, **more: Any) -> list[Event]:
        if self.failures and self._fails(types):
            self.failures -= 1
            raise StorageError("the database is away for a moment")
        return await self._log.read(session_id, types=types, **more)


async def test_an_interrupt_from_elsewhere_is_heeded_though_it_could_not_be_read_at_first(
    cluster: Cluster,
) -> None:
    a, b = await cluster.start(), await cluster.start()
    session = await a.engine.create(NewSession("alice"))
    cluster.plays["hang"] = (Say("well"), Hang())
    turn = await a.engine.send(session.id, "hang")
    await cluster.until_type(session, EventType.AGENT_MESSAGE)
    said = frozenset({EventType.USER_INTERRUPT, EventType.USER_TOOL_CONFIRMATION})
    inbox: Any = a.engine._watch._held
    blips = inbox._log = Blips(cluster.store.events, 3, lambda types: types == said)
    assert await b.engine.interrupt(session.id)
    assert (await a.engine.wait(turn, 10)).interrupted == "user"
    assert blips.failures == 0


class Held:
    """Sessions that live here, of which none can be looked at."""

    def __init__(self, error: Exception) -> None:
        self.looked: list[str] = []
        self._error = error

    def held(self) -> set[str]:
        return {"one", "two", "three"}

    async def look(self, session_id: str, head: SessionHead | None) -> None:
        self.looked.append(session_id)
        raise self._error


@pytest.mark.parametrize("error", [StorageError("away"), ValueError("unforeseen")])
async def test_a_session_that_cannot_be_looked_at_keeps_nobody_from_the_others(error: Exception) -> None:
    clock, hub, held = SystemClock(), Hub(), Held(error)
    store = memory_store(clock)
    relay, news = Relay(hub, store.wakeups, clock), News(store.events, hub)
    watch = Watch(store.sessions, held, hub, news, relay, clock, CountedIds(), poll_seconds=60)
    with capture_logs() as logged:
        watch.start()
        await until(lambda: sorted(held.looked) == ["one", "three", "two"])
        await watch.stop()
    assert sorted(entry["session_id"] for entry in logged) == ["one", "three", "two"]
