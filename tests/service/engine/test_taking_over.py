"""What a replica does not take over: what it cannot see the files of, and what it has no place for."""

import asyncio
import shutil
from dataclasses import replace

import pytest
from tests.service.engine.cluster import LEASE, LIMITS, Cluster, Replica, holds
from tests.service.engine.harness import FullDisk
from tests.waiting import until

from claude_agent_http.domain.errors import FilesElsewhereError, StorageError
from claude_agent_http.domain.event import EventType
from claude_agent_http.domain.session import Session, SessionPhase, SessionStatus
from claude_agent_http.engine import NewSession
from claude_agent_http.engine.watch import Watch
from claude_agent_http.runtime.fake import Hang, Say, UseTool, Wait

WARM = replace(LIMITS, prestart=True)


async def test_a_session_whose_files_are_not_here_is_not_taken_over(cluster: Cluster) -> None:
    a, b = await cluster.start(), await cluster.start(folder="another disk")
    await until(lambda: b.engine.stats().peers == 1)
    session = await a.engine.create(NewSession("alice"))
    cluster.plays["slow"] = holds(go := asyncio.Event())
    turn = await a.engine.send(session.id, "slow")
    await cluster.until_type(session, EventType.AGENT_MESSAGE)
    a.cut_off()
    c = await cluster.start()
    await cluster.until_type(session, EventType.STATUS_RESCHEDULED)
    go.set()
    await cluster.until_idle(session)
    assert (c.runtimes.undone, b.runtimes.opened) == ([turn.id], [])


@pytest.mark.parametrize("when", ["at its start", "as the last one"])
async def test_a_replica_without_the_files_runs_nothing(cluster: Cluster, when: str) -> None:
    a = await cluster.start()
    b = None if when == "at its start" else await cluster.start(folder="another disk")
    session = await a.engine.create(NewSession("alice"))
    cluster.plays["slow"] = holds(go := asyncio.Event())
    turn = await a.engine.send(session.id, "slow")
    await cluster.until_type(session, EventType.AGENT_MESSAGE)
    a.cut_off()
    await until(lambda: a.runtimes.alive == {} or not a.engine._live.live or _is_over(a))
    b = b or await cluster.start(folder="another disk")
    await until(lambda: b.engine.stats().peers == 0)
    await b.sweeps()
    assert b.runtimes.opened == []
    c = await cluster.start()
    await until(lambda: c.runtimes.undone == [turn.id])
    go.set()
    await cluster.until_idle(session)


def _is_over(replica) -> bool:
    """Its time, as the database has it."""
    return not replica.store.leases._lives(replica.engine._membership._replica.id)


async def _cut_off_in_a_turn(cluster: Cluster, replica: Replica) -> Session:
    """Whose turn it is; the replica's time is over."""
    session = await replica.engine.create(NewSession("alice"))
    cluster.plays["slow"] = holds(asyncio.Event())
    await replica.engine.send(session.id, "slow")
    await cluster.until_type(session, EventType.AGENT_MESSAGE)
    replica.cut_off()
    await until(lambda: _is_over(replica))
    return session


async def test_a_turn_that_nobody_may_run_is_ended_by_who_does_not_see_its_files(cluster: Cluster) -> None:
    a, b = await cluster.start(), await cluster.start(folder="another disk")
    session = await _cut_off_in_a_turn(cluster, a)
    assert await b.engine.interrupt(session.id)
    await check_files_are_asked_for(cluster, session)
    assert b.runtimes.opened == []


async def test_a_turn_that_nobody_sees_the_files_of_ends_when_its_time_is_over(cluster: Cluster) -> None:
    a, b = await cluster.start(), await cluster.start(folder="another disk")
    session = await a.engine.create(NewSession("alice"))
    cluster.plays["slow"] = (Say("before"), Hang(deaf=True))
    await a.engine.send(session.id, "slow", 3 * LEASE)
    await cluster.until_type(session, EventType.AGENT_MESSAGE)
    a.cut_off()
    await until(lambda: _is_over(a))
    await check_files_are_asked_for(cluster, session)
    assert b.runtimes.opened == []


async def check_files_are_asked_for(cluster: Cluster, session: Session) -> None:
    """The session's turn has ended, and the error says where the files are missing and what to do."""
    log = await cluster.until_idle(session)
    [error] = [event.data["error"] for event in log if event.type is EventType.SESSION_ERROR]
    assert error["type"] == "files_elsewhere_error"
    assert session.cwd in error["message"]
    assert "put the folder back" in error["message"]


async def test_a_turn_whose_tool_had_started_does_not_ask_for_files(cluster: Cluster) -> None:
    a, b = await cluster.start(), await cluster.start(folder="another disk")
    session = await a.engine.create(NewSession("alice"))
    cluster.plays["slow"] = (UseTool("Bash"), Wait(asyncio.Event()))
    await a.engine.send(session.id, "slow")
    await cluster.until_type(session, EventType.AGENT_TOOL_STARTED)
    a.cut_off()
    log = await cluster.until_idle(session)
    [error] = [event.data["error"] for event in log if event.type is EventType.SESSION_ERROR]
    assert error["type"] == "service_restarted_error"
    assert b.runtimes.opened == []


async def test_nothing_is_started_where_the_files_are_not(cluster: Cluster) -> None:
    a, b = await cluster.start(), await cluster.start(WARM, folder="another disk")
    new = NewSession("alice", idempotency_key="once")
    session = await a.engine.create(new)
    await a.say(session, "hi")
    a.engine._live.hibernate(session.id)
    await until(lambda: a.runtimes.alive == {})
    await cluster.store.sessions.set_status(session.id, SessionStatus.CLOSED, session.last_active_at)
    assert (await b.engine.resume(session.id)).status is SessionStatus.ACTIVE
    await b.engine.wake(session.id)
    assert (await b.engine.create(new)).id == session.id
    assert b.engine.stats().live == 0
    with pytest.raises(FilesElsewhereError, match=f"{session.id}.*nothing of the request was stored"):
        await b.engine.send(session.id, "two")
    assert (await a.say(session, "two")).error is None


async def test_a_message_goes_to_who_has_the_session_though_its_files_are_not_here(cluster: Cluster) -> None:
    a, b = await cluster.start(), await cluster.start(folder="another disk")
    session = await a.engine.create(NewSession("alice"))
    await a.say(session, "one")
    assert (await b.say(session, "two")).error is None
    assert (a.runtimes.opened, b.runtimes.opened) == ([session.id], [])


@pytest.mark.parametrize("replicas", [1, 2])
async def test_a_session_whose_folder_was_removed_takes_no_message_until_it_is_back(
    cluster: Cluster, replicas: int
) -> None:
    a, *_ = [await cluster.start() for _ in range(replicas)]
    session = await a.engine.create(NewSession("alice", "work"))
    await a.say(session, "hi")
    a.engine._live.hibernate(session.id)
    await until(lambda: a.engine.stats().live == 0)
    shutil.move(session.cwd, cluster.folder / "away")
    with pytest.raises(FilesElsewhereError, match="put it back or DELETE"):
        await a.engine.send(session.id, "again")
    assert (await cluster.store.sessions.get(session.id)).phase is SessionPhase.IDLE
    shutil.move(cluster.folder / "away", session.cwd)
    assert (await a.say(session, "again")).error is None


async def test_a_turn_that_was_interrupted_while_its_lease_was_lost_is_taken_over(cluster: Cluster) -> None:
    a = await cluster.start()
    disk = a.engine._live._parts.journal._log = FullDisk(cluster.store.events)
    session = await a.engine.create(NewSession("alice"))
    a.runtimes.before_start = asyncio.Event()
    turn = await a.engine.send(session.id, "hello")
    disk.answers.clear()
    await a.engine.interrupt(session.id)
    before = a.engine._membership.replica.id
    await cluster.store.leases.leave(before)
    await until(lambda: a.engine._membership._replica.id != before)
    disk.answers.set()
    a.runtimes.before_start.set()
    assert (await asyncio.wait_for(asyncio.shield(turn.ended), 5)).interrupted is not None
    await cluster.until_idle(session)


async def test_a_start_that_fails_leaves_nothing_behind(cluster: Cluster) -> None:
    a = await cluster.start()
    session = await _cut_off_in_a_turn(cluster, a)
    tasks = asyncio.all_tasks()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Watch, "start", _refuse)  # the last step of a start
        with pytest.raises(StorageError):
            await cluster.start()
    await a.engine._elsewhere.stop()  # The first one waits for its turn wherever it is now.
    assert asyncio.all_tasks() <= tasks
    stored = await cluster.store.sessions.get(session.id)
    assert stored.lease_epoch == 2
    assert stored.lease_holder is None


def _refuse(_: Watch) -> None:
    raise StorageError("the database did not answer")


async def test_what_there_is_no_place_for_is_not_claimed(cluster: Cluster) -> None:
    a = await cluster.start(replace(LIMITS, max_turns_at_once=50, max_live=60, memory_mb=10**6))
    cluster.plays["slow"] = (Wait(go := asyncio.Event()),)
    sessions = [await a.engine.create(NewSession(f"user-{number}")) for number in range(12)]
    for session in sessions:
        await a.engine.send(session.id, "slow")
    a.cut_off()
    await until(lambda: _is_over(a))
    b = await cluster.start(replace(LIMITS, max_turns_at_once=1, memory_mb=10**6))
    await until(lambda: b.engine.stats().turns == 1)
    await b.sweeps()
    epochs = sorted([(await cluster.store.sessions.get(session.id)).lease_epoch for session in sessions])
    assert epochs == [1] * 11 + [2]
    go.set()
    for session in sessions:
        await cluster.until_idle(session)


async def test_one_that_waits_hides_none_of_those_behind_it(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("claude_agent_http.engine.takeover._AT_ONCE", 2)
    a = await cluster.start()
    cluster.plays["slow"] = holds(asyncio.Event())
    sessions = [await a.engine.create(NewSession(f"user-{number}")) for number in range(5)]
    for session in sessions:
        await a.engine.send(session.id, "slow")
        await cluster.until_type(session, EventType.AGENT_MESSAGE)
    a.cut_off()
    await until(lambda: _is_over(a))
    for session in sessions[:4]:
        shutil.rmtree(session.cwd)
    b = await cluster.start()
    await until(lambda: b.runtimes.opened == [sessions[4].id])
