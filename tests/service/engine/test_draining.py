"""A replica that is shut down while others live: what was stored is run, and what it says is true."""

import asyncio
from typing import Any

import pytest
from tests.service.engine.cluster import Cluster, Pair, holds
from tests.service.engine.harness import FullDisk

from claude_agent_http.domain.errors import DrainingError
from claude_agent_http.domain.event import Event, EventType
from claude_agent_http.domain.lease import Lease
from claude_agent_http.engine import NewSession
from claude_agent_http.ports import EventLog, Leases
from claude_agent_http.runtime.fake import Say, Wait


async def test_a_turn_that_is_being_opened_elsewhere_is_waited_for(cluster: Cluster, pair: Pair) -> None:
    """Longer than the drained replica's own turns take."""
    a, b = pair
    session, own = await a.engine.create(NewSession("alice")), await b.engine.create(NewSession("bob"))
    await a.say(session, "one")
    cluster.plays["slow"] = holds(go := asyncio.Event())
    cluster.plays["own"] = (Say("own"), Wait(own_go := asyncio.Event()))
    own_turn = await b.engine.send(own.id, "own")
    elsewhere: Any = b.engine._elsewhere
    disk = elsewhere._journal._log = FullDisk(cluster.store.events)
    disk.answers.clear()
    sending = asyncio.create_task(b.engine.send(session.id, "slow"))
    async with asyncio.timeout(5):
        await disk.asked.wait()
        stopping = asyncio.create_task(b.engine.stop(5))
        await asyncio.sleep(0)
        assert b.engine.draining
        disk.answers.set()
        waiting = asyncio.create_task(b.engine.wait(await sending, 10))
        await cluster.until_type(session, EventType.AGENT_MESSAGE, 2)
        own_go.set()
        await own_turn.ended
        go.set()
        assert (await waiting).error is None
        await stopping


class SlowLeases:
    """Leases that say who has stopped when they are told to."""

    def __init__(self, leases: Leases) -> None:
        self.go, self.asked = asyncio.Event(), asyncio.Event()
        self._leases = leases

    async def has_stopped(self, lease: Lease) -> bool:
        self.asked.set()
        await self.go.wait()
        return await self._leases.has_stopped(lease)


async def test_what_was_not_stored_before_the_drain_is_refused_and_not_stored(
    cluster: Cluster, pair: Pair
) -> None:
    a, b = pair
    session = await a.engine.create(NewSession("alice"))
    await a.say(session, "one")
    whereabouts: Any = b.engine._whereabouts
    leases = whereabouts._leases = SlowLeases(cluster.store.leases)
    sending = asyncio.create_task(b.engine.send(session.id, "two"))
    await asyncio.wait_for(leases.asked.wait(), 5)
    await b.engine.stop(0)
    leases.go.set()
    with pytest.raises(DrainingError):
        await sending
    assert (await cluster.types(session)).count("user.message") == 1


class SlowLog:
    """An event log that is read when it is told to."""

    def __init__(self, log: EventLog) -> None:
        self.append = log.append
        self.go, self.asked = asyncio.Event(), asyncio.Event()
        self._log = log

    async def read(self, session_id: str, **how: Any) -> list[Event]:
        self.asked.set()
        await self.go.wait()
        return await self._log.read(session_id, **how)


@pytest.mark.parametrize("before", [True, False])
async def test_a_message_that_comes_in_as_its_sessions_replica_is_drained_moves_on(
    cluster: Cluster, pair: Pair, before: bool
) -> None:
    """`before`: it was found before the drain began, and read behind that."""
    a, b = pair
    session, other = await a.engine.create(NewSession("alice")), await a.engine.create(NewSession("bob"))
    await a.say(session, "one")
    cluster.plays["slow"] = holds(go := asyncio.Event())
    other_turn = await a.engine.send(other.id, "slow")
    await cluster.until_type(other, EventType.AGENT_MESSAGE)
    inbox: Any = a.engine._watch._held
    log = inbox._log = SlowLog(cluster.store.events)
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        if not before:
            tasks.create_task(a.engine.stop(5))
        turn = await b.engine.send(session.id, "two")
        await log.asked.wait()
        if before:
            tasks.create_task(a.engine.stop(5))
            await asyncio.sleep(0)
        log.go.set()
        end = await b.engine.wait(turn, 10)
        assert not other_turn.ended.done()  # it did not have to wait for the drain's end
        go.set()
    assert (end.error, end.interrupted) == (None, None)
    assert b.runtimes.opened == [session.id]
