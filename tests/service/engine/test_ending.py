"""Ends of sessions and workers, the orderly and the unexpected."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Literal, cast

import pytest
from tests.service.engine.harness import FullDisk, Harness, OtherLog, OtherSessions
from tests.waiting import until

from claude_agent_http.domain.errors import BusyError, SessionNotFoundError, StorageError
from claude_agent_http.domain.lease import Lease
from claude_agent_http.domain.session import Session, SessionStatus
from claude_agent_http.domain.turn import ErrorKind
from claude_agent_http.engine import Limits
from claude_agent_http.ports import SessionStore, Store
from claude_agent_http.runtime.fake import Hang, Say
from claude_agent_http.store import memory_store
from claude_agent_http.system.clock import SystemClock


def limits(**changes) -> Limits:
    return Limits(**{"prestart": False, "interrupt_grace_seconds": 0.1, "stop_seconds": 0.1} | changes)


class HeldSessions:
    """The sessions of a store, whose delete and close_unused wait for `gate` once they are done."""

    def __init__(self, sessions: SessionStore) -> None:
        self._sessions = sessions
        self.gate = asyncio.Event()
        self.reached = asyncio.Event()
        self.failure: Exception | None = None
        for name in ("create", "find_repeat", "get", "list_ids", "heads", "count", "set_status"):
            setattr(self, name, getattr(sessions, name))

    async def delete(self, session_id: str, *, lease: Lease | None = None) -> None:
        if self.failure is not None:
            raise self.failure
        self.reached.set()
        await self.gate.wait()
        await self._sessions.delete(session_id, lease=lease)

    async def close_unused(self, before: datetime) -> list[str]:
        if self.failure is not None:
            self.reached.set()
            raise self.failure
        closed = await self._sessions.close_unused(before)
        if closed:
            self.reached.set()
            await self.gate.wait()
        return closed


@pytest.fixture
def store() -> Store:
    store = memory_store(SystemClock())
    return OtherSessions(store, cast("SessionStore", HeldSessions(store.sessions)))


async def test_a_session_being_deleted_takes_no_message_and_no_runtime(make_harness, store) -> None:
    async with make_harness(limits(prestart=True), store) as harness:
        session = await harness.session()
        await harness.say(session, "hi")
        deleting = asyncio.create_task(harness.engine.delete(session.id))
        await store.sessions.reached.wait()
        assert harness.runtimes.alive == {}
        with pytest.raises(SessionNotFoundError):
            await harness.turn(session, "am I too late?")
        await harness.engine.resume(session.id)
        assert harness.engine.stats().live == 0
        store.sessions.gate.set()
        await deleting
        assert harness.runtimes.opened == [session.id]


async def test_a_session_whose_deletion_failed_goes_on(make_harness, store) -> None:
    async with make_harness(limits(), store) as harness:
        session = await harness.session()
        store.sessions.failure = StorageError("the database is away")
        with pytest.raises(StorageError):
            await harness.engine.delete(session.id)
        assert (await harness.say(session, "hi")).error is None


async def test_deleting_does_not_wait_for_a_runtime_that_does_not_end(make_harness) -> None:
    async with make_harness(limits()) as harness:
        session = await harness.session()
        await harness.say(session, "hi")
        harness.runtimes.before_close = asyncio.Event()
        async with asyncio.timeout(3):
            await harness.engine.delete(session.id)
        assert harness.runtimes.alive == {}


async def test_deleting_waits_neither_for_the_log_nor_then_for_the_runtime(make_harness) -> None:
    memory = memory_store(SystemClock())
    store = OtherLog(memory, disk := FullDisk(memory.events))
    async with make_harness(store=store, limits=limits()) as harness:
        session = await harness.session()
        await harness.say(session, "hi")
        disk.answers.clear()
        harness.runtimes.before_close = asyncio.Event()
        sending = asyncio.create_task(harness.turn(session, "not stored", 3))
        await until(lambda: harness.engine.stats().turns == 1)
        async with asyncio.timeout(4):
            await harness.engine.delete(session.id)
        assert harness.runtimes.alive == {}
        disk.answers.set()
        with pytest.raises(SessionNotFoundError):
            await sending


async def test_deleting_does_not_wait_for_what_a_full_disk_keeps_out_of_the_log(make_harness) -> None:
    memory = memory_store(SystemClock())
    store = OtherLog(memory, disk := FullDisk(memory.events))
    long = limits(interrupt_grace_seconds=30, stop_seconds=30)
    async with make_harness(store=store, limits=long) as harness:
        harness.runtimes.play = lambda _: (Hang(),)
        session = await harness.session()
        turn = await harness.turn(session, "go")
        await until(lambda: bool(harness.runtimes.alive))
        disk.full = True
        turn.interrupt("user")
        await turn.ended
        async with asyncio.timeout(5):
            await harness.engine.delete(session.id)
        disk.full = False
    with pytest.raises(SessionNotFoundError):
        await memory.sessions.get(session.id)


async def test_a_drain_does_not_wait_for_a_runtime_that_does_not_end(make_harness) -> None:
    async with make_harness(limits()) as harness:
        session = await harness.session()
        harness.runtimes.play = lambda _: (Hang(deaf=True),)
        turn = await harness.turn(session, "hang")
        await until(lambda: harness.engine.stats().runtimes == 1)
        harness.runtimes.before_close = asyncio.Event()
        async with asyncio.timeout(3):
            await harness.engine.stop(0.1)
        assert turn.ended.result().interrupted == "shutdown"
        assert (await harness.types(session))[-1] == "session.status_idle"
        assert harness.runtimes.alive == {}


async def test_an_unforeseen_failure_ends_the_turn_and_not_the_session(harness: Harness) -> None:
    session = await harness.session()

    def broken(_: str) -> Sequence[Say]:
        raise ZeroDivisionError("what nobody thought of")

    play, harness.runtimes.play = harness.runtimes.play, broken
    end = await harness.say(session, "hi")
    assert end.error is not None
    assert end.error.kind is ErrorKind.INTERNAL
    assert "ZeroDivision" not in end.error.message
    assert (await harness.types(session))[-2:] == ["session.error", "session.status_idle"]
    harness.runtimes.play = play
    assert (await harness.say(session, "again")).error is None


async def test_a_failed_start_is_told_until_one_works(harness: Harness) -> None:
    session = await harness.session()
    assert harness.engine.stats().last_start_error is None
    harness.runtimes.start_failures = ["no such program"]
    await harness.say(session, "hi")
    assert harness.engine.stats().last_start_error == "no such program"
    await harness.say(session, "hi")
    assert harness.engine.stats().last_start_error is None


async def test_a_message_that_comes_while_its_session_is_closed_keeps_it_open(make_harness, store) -> None:
    async with make_harness(limits(session_ttl_seconds=0.2), store) as harness:
        session = await harness.session()
        await harness.say(session, "hi")
        await store.sessions.reached.wait()
        harness.runtimes.play = lambda _: (Hang(),)
        turn = await harness.turn(session, "still here")
        store.sessions.gate.set()

        async def open_again() -> bool:
            return (await harness.engine.get(session.id)).status is SessionStatus.ACTIVE

        await until(open_again)
        turn.interrupt("test")
        await turn.ended


async def test_sessions_are_closed_also_after_an_unforeseen_failure(make_harness, store) -> None:
    async with make_harness(limits(session_ttl_seconds=0.1), store) as harness:
        store.sessions.failure = ZeroDivisionError()
        store.sessions.gate.set()
        session = await harness.session()
        await store.sessions.reached.wait()
        store.sessions.failure = None

        async def closed() -> bool:
            return (await harness.engine.get(session.id)).status is SessionStatus.CLOSED

        await until(closed)


async def test_a_turn_starts_before_the_prestarts_that_wait(make_harness) -> None:
    async with make_harness(limits(prestart=True, max_starts_at_once=1)) as harness:
        harness.runtimes.before_start = gate = asyncio.Event()
        sessions: list[Session] = [await harness.session(f"user{n}") for n in range(3)]
        turn = await harness.turn(sessions[2], "hi")
        gate.set()
        await turn.ended
        assert harness.runtimes.opened[:2] == [sessions[0].id, sessions[2].id]
        await until(lambda: len(harness.runtimes.opened) == 3)


async def test_memory_counts_runtimes_that_still_start(make_harness) -> None:
    async with make_harness(limits(memory_mb=1000, memory_mb_per_start=250)) as harness:
        harness.runtimes.before_start = gate = asyncio.Event()
        sessions = [await harness.session(f"user{n}") for n in range(4)]
        for session in sessions[:3]:
            await harness.turn(session, "hi")
        with pytest.raises(BusyError, match="memory limit"):
            await harness.turn(sessions[3], "hi")
        gate.set()


async def test_a_session_that_wakes_while_it_hibernates_makes_room_anew(make_harness) -> None:
    async with make_harness(limits(max_live=2, max_turns_at_once=9)) as harness:
        first, second, third = [await harness.session(user) for user in ("a", "b", "c")]
        await harness.say(first, "hi")
        await harness.say(second, "hi")
        harness.runtimes.before_close = gate = _Gate()
        other = await harness.turn(third, "takes the place of the first")
        await gate.reached.wait()
        again = await harness.turn(first, "takes the place of the second")
        gate.set()
        async with asyncio.timeout(3):
            await asyncio.gather(other.ended, again.ended)
        assert set(harness.runtimes.alive) == {first.id, third.id}


class _Gate(asyncio.Event):
    def __init__(self) -> None:
        super().__init__()
        self.reached = asyncio.Event()

    async def wait(self) -> Literal[True]:
        self.reached.set()
        return await super().wait()
