"""Retention: closed sessions go by age and by size, and nothing else does."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.service.engine.cluster import LIMITS as CLUSTER_LIMITS
from tests.service.engine.cluster import Cluster, Replica, followed
from tests.service.engine.harness import Harness
from tests.waiting import until

from claude_agent_http.domain.errors import SessionBusyError, SessionNotFoundError, StorageError
from claude_agent_http.domain.event import EventType, Followed, SessionDeleted
from claude_agent_http.domain.lease import Lease
from claude_agent_http.domain.session import Session, SessionStatus
from claude_agent_http.domain.telemetry import Expiry
from claude_agent_http.engine import Engine, Limits, NewSession
from claude_agent_http.engine.retention import Retention
from claude_agent_http.runtime.fake import Hang, Say
from claude_agent_http.store import memory_store
from claude_agent_http.system.clock import SystemClock

LIMITS = Limits(prestart=False, interrupt_grace_seconds=0.3, session_ttl_seconds=0.1, retention_seconds=0.5)


async def is_gone(harness: Harness, session: Session) -> bool:
    return session.id not in await harness.engine.list_ids(None, limit=10)


async def test_a_closed_session_goes_when_nobody_used_it_for_its_time(make_harness) -> None:
    async with make_harness(LIMITS) as harness:
        harness.runtimes.play = lambda prompt: (Hang() if prompt == "work" else Say("done"),)
        old, busy = await harness.session("alice"), await harness.session("bob")
        await harness.say(old, "hi")
        turn = await harness.turn(busy, "work")
        seen: list[Followed] = []
        reading = asyncio.create_task(followed(harness.engine, old, deltas=False, seen=seen))
        with capture_logs() as logged:
            await asyncio.wait_for(reading, 5)
            await until(lambda: harness.telemetry.expired == [Expiry.AGE])
        assert isinstance(seen[-1], SessionDeleted)
        with pytest.raises(SessionNotFoundError):
            await harness.engine.resume(old.id)
        assert await harness.store.events.read(old.id) == []
        assert Path(old.cwd).is_dir()  # noqa: ASYNC240
        assert harness.runtimes.forgotten == [old.id]
        assert [entry["sessions"] for entry in logged if "were deleted" in entry["event"]] == [1]
        assert not await is_gone(harness, busy)
        turn.interrupt("test")
        await turn.ended


async def test_who_comes_back_in_time_finds_everything(make_harness) -> None:
    async with make_harness(Limits(prestart=False, retention_seconds=0.5)) as harness:
        session = await harness.session()
        await harness.say(session, "remember me")
        past = session.last_active_at - timedelta(days=1)
        await harness.engine.resume(session.id)
        other = await harness.session("other")
        for each in (session, other):
            await harness.store.sessions.set_status(each.id, SessionStatus.CLOSED, past)
        await harness.engine.resume(session.id)
        await until(lambda: is_gone(harness, other))
        assert (await harness.say(session, "me again")).error is None


async def test_closed_sessions_that_take_too_much_go_the_longest_unused_first(make_harness) -> None:
    store = memory_store(SystemClock())
    async with make_harness(Limits(prestart=False), store) as harness:
        sessions = [await harness.session(f"user{number}") for number in range(3)]
        for session in sessions:
            await harness.say(session, "x" * 1000)
        for session, days in zip(sessions, (2, 3, 1), strict=True):
            at = session.created_at - timedelta(days=days)
            await store.sessions.set_status(session.id, SessionStatus.CLOSED, at)
    assert await store.sessions.excess(6000) is not None
    async with make_harness(Limits(prestart=False, retention_bytes=6000), store) as harness:
        await until(lambda: len(harness.telemetry.expired) > 0)
        assert harness.telemetry.expired == [Expiry.SIZE]
        assert await harness.engine.list_ids(None, limit=10) == [sessions[2].id, sessions[0].id]


async def test_a_reader_on_another_replica_sees_the_end(cluster: Cluster) -> None:
    keeper = await cluster.start()
    session = await keeper.engine.create(NewSession("alice"))
    seen: list[Followed] = []
    reading = asyncio.create_task(followed(keeper.engine, session, deltas=False, seen=seen))
    past = session.last_active_at - timedelta(days=1)
    await cluster.store.sessions.set_status(session.id, SessionStatus.CLOSED, past)
    remover = await cluster.start(replace(CLUSTER_LIMITS, retention_seconds=3600))
    await asyncio.wait_for(reading, 5)
    assert isinstance(seen[-1], SessionDeleted)
    assert remover.telemetry.expired == [Expiry.AGE]


async def test_what_is_being_used_is_left_for_the_next_time(make_harness, monkeypatch) -> None:
    store = memory_store(SystemClock())
    async with make_harness(Limits(prestart=False), store) as harness:
        session = await harness.session()
        past = session.created_at - timedelta(days=1)
        await store.sessions.set_status(session.id, SessionStatus.CLOSED, past)

        async def none_goes(session_ids: list[str], _through: datetime, _replica_id: str) -> list[Session]:
            assert session_ids == [session.id]
            return []

        monkeypatch.setattr(store.sessions, "claim_closed", none_goes)
        await asyncio.wait_for(by_age(harness.engine, 3600), 5)
        assert harness.telemetry.expired == []


async def by_age(engine: Engine, seconds: float) -> None:
    """One look of retention, as the engine's own chore does it."""
    limits = Limits(retention_seconds=seconds)
    telemetry = engine._retention._telemetry
    await Retention(engine._store, engine._removal, SystemClock(), limits, telemetry).by_age()


async def closed(cluster: Cluster, replica: Replica) -> Session:
    """A session that was used and closed long ago."""
    session = await replica.engine.create(NewSession("alice"))
    await replica.say(session, "hi")
    replica.engine._live.hibernate(session.id)
    await until(lambda: replica.engine.stats().live == 0)
    past = session.last_active_at - timedelta(days=1)
    return await cluster.store.sessions.set_status(session.id, SessionStatus.CLOSED, past)


@dataclass
class Stopped:
    """Keeps whoever removes a session's folder there, until it is let go."""

    removed: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    def install(self, replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
        forget = replica.runtimes.forget

        async def stopped(session: Session) -> None:
            await forget(session)
            self.removed.set()
            await self.go_on.wait()

        monkeypatch.setattr(replica.runtimes, "forget", stopped)


async def test_one_whose_folder_went_before_the_replica_died_is_found_again(
    cluster: Cluster, monkeypatch
) -> None:
    dies, stopped = await cluster.start(), Stopped()
    session = await closed(cluster, dies)
    stopped.install(dies, monkeypatch)
    cut_off = asyncio.create_task(by_age(dies.engine, 3600))
    await stopped.removed.wait()
    dies.cut_off()
    cut_off.cancel()
    monkeypatch.setattr(dies.store.leases, "release", _no_answer)  # a process that is killed releases nothing
    await asyncio.wait([cut_off])
    assert dies.runtimes.forgotten == [session.id]
    row = await cluster.store.sessions.get(session.id)
    assert row.lease_holder == dies.engine._membership._replica.id
    lives = await cluster.start()

    async def deleted() -> bool:
        await by_age(lives.engine, 3600)
        return lives.telemetry.expired == [Expiry.AGE]

    assert not await deleted()  # its stay is not over
    await until(deleted)
    assert lives.runtimes.forgotten == [session.id]
    assert await cluster.store.sessions.list_ids(user_id=None, limit=1) == []


async def _stopped_in_its_folder(keeper, monkeypatch) -> tuple[Stopped, asyncio.Task[None]]:
    """The retention, when it has removed the folder and not yet the rows."""
    stopped = Stopped()
    stopped.install(keeper, monkeypatch)
    retention = asyncio.create_task(by_age(keeper.engine, 3600))
    await stopped.removed.wait()
    return stopped, retention


async def _no_answer(_lease: Lease) -> None:
    raise StorageError("no answer")


async def test_one_that_is_opened_again_while_its_folder_goes_lives_whole(
    cluster: Cluster, monkeypatch
) -> None:
    keeper, other = await cluster.start(), await cluster.start()
    session = await closed(cluster, keeper)
    stopped, retention = await _stopped_in_its_folder(keeper, monkeypatch)
    await other.engine.resume(session.id)
    with pytest.raises(SessionBusyError):
        await keeper.engine.send(session.id, "here")
    saying = asyncio.create_task(other.say(session, "elsewhere"))
    await cluster.until_type(session, EventType.USER_MESSAGE, 2)
    await keeper.sweeps()
    stopped.go_on.set()
    await asyncio.wait_for(retention, 5)
    assert (await saying).error is None
    assert keeper.telemetry.expired == []
    assert (await cluster.types(session)).count("session.status_idle") == 2


async def test_one_that_is_deleted_while_its_folder_goes_is_deleted_once(
    cluster: Cluster, monkeypatch
) -> None:
    keeper, other = await cluster.start(), await cluster.start()
    session = await closed(cluster, keeper)
    stopped, retention = await _stopped_in_its_folder(keeper, monkeypatch)
    deleting = asyncio.create_task(other.engine.delete(session.id))
    await until(lambda: bool(keeper.store.leases._seized.get(session.id)))
    stopped.go_on.set()
    await asyncio.wait_for(asyncio.gather(retention, deleting), 5)
    assert keeper.telemetry.expired == []
    assert await cluster.store.sessions.list_ids(user_id=None, limit=1) == []
