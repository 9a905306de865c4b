"""A turn ends when its time is up, whoever runs it, and whatever became of the replica that was asked."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.service.engine.cluster import LEASE, LIMITS, Cluster, Replica
from tests.service.engine.harness import FullDisk
from tests.service.engine.test_blips import Blips
from tests.waiting import until

from claude_agent_http.domain.errors import TurnTimeoutError
from claude_agent_http.domain.event import Event, EventType, NewEvent
from claude_agent_http.domain.session import Session
from claude_agent_http.engine import NewSession
from claude_agent_http.ports import EventLog
from claude_agent_http.runtime.fake import Hang, Say

SECONDS = 0.5


@pytest.fixture
async def two(cluster: Cluster) -> tuple[Replica, Replica, Session]:
    """A session that lives with the first of two replicas; an agent that is told to hang does so."""
    a, b = await cluster.start(), await cluster.start()
    await until(lambda: a.engine.stats().peers == 1 == b.engine.stats().peers)
    session = await a.engine.create(NewSession("alice"))
    await a.say(session, "one")
    cluster.plays["hang"] = (Say("well"), Hang())
    return a, b, session


Two = tuple[Replica, Replica, Session]


async def interrupts(cluster: Cluster, session: Session) -> list[str]:
    """Why its turns were interrupted, once none runs."""
    log = await cluster.until_idle(session)
    return [event.data["reason"] for event in log if event.type is EventType.USER_INTERRUPT]


def seen_of(replica: Replica, log: Any) -> Any:
    """Put in front of all that the replica reads and writes of turns that others run."""
    elsewhere: Any = replica.engine._elsewhere
    elsewhere._log = elsewhere._journal._log = log
    return log


async def test_of_a_turn_whose_asked_replica_died(cluster: Cluster, two: Two) -> None:
    _, b, session = two
    await b.engine.send(session.id, "hang", SECONDS)
    b.cut_off()
    await b.engine._elsewhere.stop()
    assert await interrupts(cluster, session) == ["timeout"]


async def test_of_a_turn_that_is_taken_over(cluster: Cluster) -> None:
    a, b = await cluster.start(), await cluster.start()
    session = await a.engine.create(NewSession("alice"))
    cluster.plays["hang"] = (Say("well"), Hang())
    await a.engine.send(session.id, "hang", LEASE + 1)
    await cluster.until_type(session, EventType.AGENT_MESSAGE)
    a.cut_off()
    await cluster.until_type(session, EventType.STATUS_RESCHEDULED)
    assert await interrupts(cluster, session) == ["timeout"]
    [message, *_] = log = await cluster.log(session)
    assert LEASE + 1 <= (log[-1].processed_at - message.processed_at).total_seconds() < LEASE + 2
    assert b.runtimes.undone


async def test_a_turn_whose_time_is_up_is_not_run_again(cluster: Cluster) -> None:
    a, b = await cluster.start(), await cluster.start()
    session = await a.engine.create(NewSession("alice"))
    cluster.plays["hang"] = (Say("well"), Hang(deaf=True))
    await a.engine.send(session.id, "hang", LEASE / 2)
    await cluster.until_type(session, EventType.AGENT_MESSAGE)
    a.cut_off()
    a.engine._live._parts.journal._log = FullDisk(cluster.store.events)
    a.engine._live._parts.journal._log.answers.clear()
    log = await cluster.until_idle(session)
    assert log[-1].data["stop_reason"]["interrupted"] == "restart"
    assert b.runtimes.opened == []


async def test_the_service_has_the_last_word_on_how_long(cluster: Cluster) -> None:
    """A message may have been sent through a replica that allows more."""
    a = await cluster.start(replace(LIMITS, turn_seconds=SECONDS))
    b = await cluster.start()
    await until(lambda: b.engine.stats().peers == 1)
    session = await a.engine.create(NewSession("alice"))
    await a.say(session, "one")
    cluster.plays["hang"] = (Say("well"), Hang())
    turn = await b.engine.send(session.id, "hang", 600)
    assert (await asyncio.wait_for(asyncio.shield(turn.ended), 5)).interrupted == "timeout"


@pytest.mark.parametrize("failures", [1, 3])
async def test_of_a_turn_whose_log_cannot_be_read_for_a_moment(
    cluster: Cluster, two: Two, failures: int
) -> None:
    _, b, session = two
    blips = seen_of(b, Blips(cluster.store.events, failures))
    turn = await b.engine.send(session.id, "hang", 2 * SECONDS)
    with pytest.raises(TurnTimeoutError):
        await b.engine.wait(turn, 2 * SECONDS)
    assert blips.failures == 0
    assert await interrupts(cluster, session) == ["timeout"]


async def test_who_waits_is_told_the_end_though_the_log_could_not_be_read_for_a_moment(
    cluster: Cluster, two: Two
) -> None:
    _, b, session = two
    blips = seen_of(b, Blips(cluster.store.events, 2))
    assert (await b.say(session, "two")).error is None
    assert blips.failures == 0


async def test_an_interrupt_is_passed_on_though_it_could_not_be_stored_at_first(
    cluster: Cluster, two: Two
) -> None:
    """To a replica of a version that knows no limits of others."""
    _, b, session = two
    disk = seen_of(b, FullDisk(cluster.store.events))
    turn = await b.engine.send(session.id, "hang", 600)
    disk.full = True
    turn.interrupt("user")
    await until(lambda: disk.refused > 1)
    disk.full = False
    assert await interrupts(cluster, session) == ["user"]
    assert (await asyncio.wait_for(asyncio.shield(turn.ended), 5)).interrupted == "user"


class Late:
    """An event log that appends only when it is told to, also what the caller no longer waits for."""

    def __init__(self, log: EventLog) -> None:
        self.read = log.read
        self.go = asyncio.Event()
        self._log = log

    async def append(self, session_id: str, events: Sequence[NewEvent], **how: Any) -> list[Event]:
        await self.go.wait()
        return await self._log.append(session_id, events, **how)


async def test_a_message_that_was_stored_after_its_time_is_interrupted(cluster: Cluster, two: Two) -> None:
    _, b, session = two
    late = seen_of(b, Late(cluster.store.events))
    with pytest.raises(TurnTimeoutError):
        await b.engine.send(session.id, "hang", 0.1)
    late.go.set()
    await cluster.until_type(session, EventType.USER_MESSAGE, 2)
    assert await interrupts(cluster, session) == ["timeout"]
