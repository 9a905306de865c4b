"""What the engine tells of itself: each turn once, each start by its kind, each refusal by its reason."""

import asyncio
from collections.abc import Callable

import pytest
from tests.service.engine.harness import FullDisk, Harness, OtherLog
from tests.waiting import until

from claude_agent_http.domain.errors import (
    BusyError,
    ClaudeAgentError,
    SessionClosedError,
    SessionNotFoundError,
    StorageError,
    TurnTimeoutError,
)
from claude_agent_http.domain.session import SessionStatus
from claude_agent_http.domain.telemetry import Refusal, StartKind
from claude_agent_http.domain.turn import ErrorKind
from claude_agent_http.engine import Limits
from claude_agent_http.runtime.fake import Die, Hang, Say, Step, UseTool, Wait
from claude_agent_http.store import memory_store
from claude_agent_http.system.clock import SystemClock


def limits(**changes) -> Limits:
    return Limits(**{"prestart": False, "interrupt_grace_seconds": 0.1, "stop_seconds": 0.1} | changes)


def kinds(harness: Harness) -> list[StartKind]:
    return [kind for kind, _ in harness.telemetry.starts]


async def test_a_turn_is_told_from_its_message_to_its_end(harness: Harness) -> None:
    session = await harness.session()
    end = await harness.say(session, "hi")
    told = harness.telemetry
    assert told.turns_begun == 1
    [(told_end, seconds)] = told.turns
    assert told_end == end
    assert told_end.usage is not None
    [first] = told.first_tokens
    assert 0 < first <= seconds
    assert told.events == [event.type for event in await harness.log(session)]
    assert told.refusals == []


@pytest.mark.parametrize("step", [Say("a b"), Say("a", whole=True), Say("a", thinking=True), UseTool()])
async def test_an_answer_begins_with_its_first_piece_whatever_that_is(harness: Harness, step: Step) -> None:
    gate = asyncio.Event()
    harness.runtimes.play = lambda _: (step, Wait(gate), Say("more"))
    turn = await harness.turn(await harness.session(), "hi")
    await until(lambda: len(harness.telemetry.first_tokens) == 1)
    assert not turn.ended.done()
    gate.set()
    await harness.engine.wait(turn, 5)
    assert len(harness.telemetry.first_tokens) == 1


async def test_an_answer_that_never_begins_is_not_told(harness: Harness) -> None:
    harness.runtimes.play = lambda _: (Die(in_request=True),)
    await harness.say(await harness.session(), "hi")
    assert harness.telemetry.first_tokens == []
    [(end, _)] = harness.telemetry.turns
    assert end.error is not None
    assert end.error.kind is ErrorKind.RUNTIME_DIED


async def test_a_start_is_told_by_what_it_was_for(make_harness) -> None:
    async with make_harness(limits(idle_seconds=0.05)) as harness:
        session = await harness.session()
        await harness.say(session, "hi")
        await until(lambda: harness.telemetry.stops == 1)
        await harness.say(session, "again")
        assert kinds(harness) == [StartKind.START, StartKind.WAKE]
        assert all(seconds >= 0 for _, seconds in harness.telemetry.starts)
    assert harness.telemetry.stops == 2


async def test_a_start_ahead_of_any_message_is_a_prestart(make_harness) -> None:
    async with make_harness(limits(prestart=True)) as harness:
        session = await harness.session()
        await until(lambda: kinds(harness) == [StartKind.PRESTART])
        await harness.say(session, "hi")
        assert kinds(harness) == [StartKind.PRESTART]


async def test_after_a_death_the_conversation_is_woken(harness: Harness) -> None:
    harness.runtimes.play = lambda prompt: (Say("oh"), Die()) if prompt == "die" else (Say("ok"),)
    session = await harness.session()
    await harness.say(session, "die")
    await harness.say(session, "hi")
    assert kinds(harness) == [StartKind.START, StartKind.WAKE]
    assert harness.telemetry.stops == 1


async def test_a_runtime_found_dead_before_its_first_turn_had_no_conversation(make_harness) -> None:
    async with make_harness(limits(prestart=True)) as harness:
        session = await harness.session()
        await until(lambda: len(harness.runtimes.alive) == 1)
        harness.runtimes.alive[session.id].kill()
        await harness.say(session, "hi")
        assert kinds(harness) == [StartKind.PRESTART, StartKind.START]
        assert (harness.telemetry.turns_begun, len(harness.telemetry.turns)) == (1, 1)


async def test_a_failed_start_is_told_and_its_turn_has_the_error(harness: Harness) -> None:
    harness.runtimes.start_failures = ["no such program"]
    await harness.say(await harness.session(), "hi")
    told = harness.telemetry
    assert (told.failed_starts, told.starts, told.stops) == (1, [], 0)
    [(end, _)] = told.turns
    assert end.error is not None
    assert end.error.kind is ErrorKind.RUNTIME_START_FAILED


async def test_a_turn_that_ends_before_its_runtime_is_there_is_told(harness: Harness) -> None:
    harness.runtimes.before_start = asyncio.Event()
    turn = await harness.turn(await harness.session(), "hi", 0.05)
    await turn.ended
    [(end, seconds)] = harness.telemetry.turns
    assert end.interrupted == "timeout"
    assert seconds >= 0.05
    harness.runtimes.before_start.set()


async def test_what_stands_in_a_messages_way_is_told(make_harness) -> None:
    tight = limits(max_turns_at_once=2, max_live_per_user=1, max_live=3)
    async with make_harness(tight) as harness:
        harness.runtimes.play = lambda _: (Hang(),)
        a, a_too, b, c = [await harness.session(user) for user in ("a", "a", "b", "c")]
        await harness.turn(a, "hang")
        await refused(harness, a.id, BusyError, Refusal.BUSY)
        await refused(harness, a_too.id, BusyError, Refusal.USER_SESSIONS)
        harness.memory_mb[0] = tight.memory_mb
        await refused(harness, b.id, BusyError, Refusal.MEMORY)
        harness.memory_mb[0] = 100
        await harness.turn(b, "hang")
        await refused(harness, c.id, BusyError, Refusal.TURNS)
        await harness.engine.stop(0)
        await refused(harness, c.id, BusyError, Refusal.DRAINING)
        told = harness.telemetry
        assert (told.turns_begun, len(told.turns), len(told.refusals)) == (2, 2, 5)


async def test_when_all_live_sessions_are_busy_that_is_told(make_harness) -> None:
    async with make_harness(limits(max_live=1)) as harness:
        harness.runtimes.play = lambda _: (Hang(),)
        first, second = await harness.session("a"), await harness.session("b")
        await harness.turn(first, "hang")
        await refused(harness, second.id, BusyError, Refusal.LIVE_SESSIONS)


async def test_a_message_that_cannot_be_stored_began_no_turn(make_harness) -> None:
    store = memory_store(SystemClock())
    disk = FullDisk(store.events)
    async with make_harness(limits(), OtherLog(store, disk)) as harness:
        session = await harness.session()
        disk.full = True
        await refused(harness, session.id, StorageError, Refusal.STORAGE_FULL)
        disk.full = False
        disk.answers.clear()
        with pytest.raises(TurnTimeoutError):
            await harness.turn(session, "hi", 0.05)
        assert harness.telemetry.refusals[-1] is Refusal.TIMEOUT
        disk.answers.set()
        await until(lambda: harness.engine.stats().turns == 0)
        # Stored after all, the message began a turn, whose time was up.
        told = harness.telemetry
        assert [end.interrupted for end, _ in told.turns] == ["timeout"]
        assert told.turns_begun == 1


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda harness, session: harness.engine.delete(session.id), SessionNotFoundError),
        (
            lambda harness, session: harness.store.sessions.set_status(
                session.id, SessionStatus.CLOSED, session.created_at
            ),
            SessionClosedError,
        ),
    ],
    ids=["deleted", "closed"],
)
async def test_a_callers_own_mistake_is_no_refusal(
    harness: Harness, spoil: Callable, error: type[ClaudeAgentError]
) -> None:
    session = await harness.session()
    await spoil(harness, session)
    with pytest.raises(error):
        await harness.turn(session, "hi")
    assert harness.telemetry.refusals == []


async def test_every_live_session_is_in_one_state(make_harness) -> None:
    async with make_harness(limits(max_live=3, max_starts_at_once=1, max_turns_at_once=9)) as harness:
        gate = asyncio.Event()
        harness.runtimes.play = lambda prompt: (Wait(gate),) if prompt == "wait" else (Say("ok"),)
        idle, running, starting, last = [await harness.session(user) for user in ("a", "b", "c", "d")]
        await harness.say(idle, "hi")
        await harness.turn(running, "wait")
        await until(lambda: harness.engine.stats().busy == 1)
        harness.runtimes.before_start = asyncio.Event()
        harness.runtimes.before_close = asyncio.Event()
        await harness.turn(starting, "hi")
        await until(lambda: harness.engine.stats().starting == 1)
        stats = harness.engine.stats()
        assert (stats.live, stats.runtimes, stats.busy, stats.queued, stats.starting) == (3, 2, 1, 0, 1)
        # The last one makes the idle one stop, and waits for its place.
        await harness.turn(last, "hi")
        await until(lambda: harness.engine.stats().runtimes == 1)
        stats = harness.engine.stats()
        assert (stats.live, stats.runtimes, stats.busy, stats.queued, stats.starting) == (4, 1, 1, 1, 1)
        for event in (gate, harness.runtimes.before_start, harness.runtimes.before_close):
            event.set()
        await until(lambda: harness.engine.stats().turns == 0)
        stats = harness.engine.stats()
        assert (stats.busy, stats.queued, stats.starting, stats.runtimes) == (0, 0, 0, 3)


async def refused(harness: Harness, session_id: str, error: type[ClaudeAgentError], why: Refusal) -> None:
    with pytest.raises(error):
        await harness.engine.send(session_id, "hi")
    assert harness.telemetry.refusals[-1] is why
