"""Retention: closed sessions go by age and by size, and nothing else does."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.service.engine.cluster import LIMITS as CLUSTER_LIMITS
from tests.service.engine.cluster import Cluster, followed
from tests.service.engine.harness import Harness
from tests.waiting import until

from claude_agent_http.domain.errors import SessionNotFoundError
from claude_agent_http.domain.event import Followed, SessionDeleted
from claude_agent_http.domain.session import Session, SessionStatus
from claude_agent_http.domain.telemetry import Expiry
from claude_agent_http.engine import Limits, NewSession
from claude_agent_http.engine.retention import Retention
from claude_agent_http.metrics.recorded import RecordedTelemetry
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

        async def none_goes(session_ids: list[str], _through: datetime) -> list[Session]:
            assert session_ids == [session.id]
            return []

        monkeypatch.setattr(store.sessions, "delete_closed", none_goes)
        telemetry = RecordedTelemetry()
        limits = Limits(retention_seconds=3600)
        retention = Retention(store.sessions, _nothing, SystemClock(), limits, telemetry)
        await asyncio.wait_for(retention.by_age(), 5)
        assert telemetry.expired == []


async def _nothing(_session: Session) -> None: ...
