"""What a turn leaves in the log, however it ends."""

import asyncio

import pytest
from tests.service.engine.harness import TYPES_OF_A_PLAIN_TURN, FullDisk, Harness, OtherLog
from tests.waiting import until

from claude_agent_http.domain.errors import (
    BusyError,
    SessionClosedError,
    SessionNotFoundError,
    StorageFullError,
    TurnTimeoutError,
)
from claude_agent_http.domain.event import EventType
from claude_agent_http.domain.session import SessionPhase, SessionStatus
from claude_agent_http.domain.turn import ErrorKind, StopReason, Usage
from claude_agent_http.engine import Limits, answer
from claude_agent_http.runtime.fake import Die, Hang, Recall, Say, UseTool, Wait
from claude_agent_http.store import memory_store
from claude_agent_http.system.clock import SystemClock


async def test_a_plain_turn_is_told_in_full_and_in_order(harness: Harness) -> None:
    session = await harness.session()
    end = await harness.say(session, "hello")
    events = await harness.log(session)
    assert [event.type.value for event in events] == TYPES_OF_A_PLAIN_TURN
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert {event.turn_id for event in events} == {events[0].id}
    assert end.stop_reason is StopReason.END_TURN
    assert end.error is None
    stored = await harness.engine.get(session.id)
    assert (stored.message_count, stored.phase) == (1, SessionPhase.IDLE)


async def test_the_answer_is_the_agents_own_words_and_tools(harness: Harness) -> None:
    harness.runtimes.play = lambda _: (Say("one "), UseTool("Bash", {"command": "ls"}), Say("two"))
    session = await harness.session()
    turn = await harness.turn(session, "go")
    await harness.engine.wait(turn, 10)
    events = await harness.engine.turn_events(turn)
    said = answer(events, session.created_at)
    assert said.text == "one \n\ntwo"
    assert [(call.tool, call.input) for call in said.tool_calls] == [("Bash", {"command": "ls"})]
    assert said.timestamp == events[-1].processed_at


async def test_a_tool_runs_only_after_its_start_is_stored(harness: Harness) -> None:
    session = await harness.session()
    stored_when_run: list[str] = []

    def run() -> str:
        log = harness.store.events._state.events[session.id]  # type: ignore[attr-defined]
        stored_when_run.extend(event.type.value for event in log)
        return "ok"

    harness.runtimes.play = lambda _: (UseTool(run=run),)
    await harness.say(session, "go")
    assert stored_when_run[-1] == "agent.tool_started"


async def test_a_second_message_meanwhile_is_refused_and_leaves_no_trace(harness: Harness) -> None:
    harness.runtimes.play = lambda _: (Hang(),)
    session = await harness.session()
    await harness.turn(session, "first")
    with pytest.raises(BusyError) as refused:
        await harness.turn(session, "second")
    assert refused.value.retry_after >= 1
    assert (await harness.types(session)).count("user.message") == 1


async def test_a_caller_that_goes_away_does_not_end_its_turn(harness: Harness) -> None:
    gate = asyncio.Event()
    harness.runtimes.play = lambda _: (Wait(gate), Say("still here"))
    session = await harness.session()

    async def chat() -> None:
        await harness.engine.wait(await harness.turn(session, "hi"), 10)

    caller = asyncio.create_task(chat())
    await until(lambda: harness.engine.stats().runtimes == 1)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    gate.set()
    await until(lambda: harness.engine.stats().turns == 0)
    assert "agent.message" in await harness.types(session)


async def test_a_caller_cancelled_while_its_message_is_stored_still_gets_its_turn(harness: Harness) -> None:
    session = await harness.session()
    caller = asyncio.create_task(harness.turn(session, "hi"))
    await asyncio.sleep(0)
    await until(lambda: harness.engine.stats().turns == 1)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    await until(lambda: harness.engine.stats().turns == 0)
    assert await harness.types(session) == TYPES_OF_A_PLAIN_TURN


async def test_a_turn_over_its_time_is_interrupted_and_the_session_usable(harness: Harness) -> None:
    harness.runtimes.play = lambda prompt: (Hang(),) if prompt == "hang" else (Say("ok"),)
    session = await harness.session()
    turn = await harness.turn(session, "hang", seconds=0.05)
    with pytest.raises(TurnTimeoutError):
        await harness.engine.wait(turn, 0.05)
    assert (await harness.log(session))[-1].data["stop_reason"] == {
        "type": "end_turn",
        "interrupted": "timeout",
    }
    assert (await harness.say(session, "again")).error is None
    assert harness.runtimes.opened == [session.id]


async def test_a_runtime_that_ignores_interrupts_is_ended(harness: Harness) -> None:
    harness.runtimes.play = lambda prompt: (Say("x"), Hang(deaf=True)) if prompt == "hang" else (Say("ok"),)
    session = await harness.session()
    turn = await harness.turn(session, "hang")
    await harness.until_said(session)
    assert await harness.engine.interrupt(session.id)
    end = await harness.engine.wait(turn, 10)
    assert end.error is not None
    assert end.error.kind is ErrorKind.RUNTIME_UNRESPONSIVE
    assert "user.interrupt" in await harness.types(session)
    assert end.interrupted == "user"
    assert (await harness.say(session, "again")).error is None
    assert harness.runtimes.opened == [session.id, session.id]


async def test_an_interrupt_ends_the_turn_and_says_so(harness: Harness) -> None:
    harness.runtimes.play = lambda _: (Say("before"), Hang(), Say("after"))
    session = await harness.session()
    turn = await harness.turn(session, "go")
    await harness.until_said(session)
    assert await harness.engine.interrupt(session.id)
    end = await harness.engine.wait(turn, 10)
    assert end.interrupted == "user"
    assert "user.interrupt" in await harness.types(session)
    assert not await harness.engine.interrupt(session.id)


async def test_an_interrupt_before_the_runtime_is_up_spares_the_prompt(harness: Harness) -> None:
    harness.runtimes.before_start = asyncio.Event()
    session = await harness.session()
    turn = await harness.turn(session, "go")
    await harness.engine.interrupt(session.id)
    assert (await harness.engine.wait(turn, 10)).interrupted == "user"
    harness.runtimes.before_start.set()
    types = await harness.types(session)
    assert types == ["user.message", "session.status_running", "user.interrupt", "session.status_idle"]


async def test_a_turn_whose_time_is_up_before_its_runtime_is_there_ends_and_the_next_works(
    harness: Harness,
) -> None:
    harness.runtimes.before_start = asyncio.Event()
    session = await harness.session()
    turn = await harness.turn(session, "go", seconds=0.02)
    with pytest.raises(TurnTimeoutError):
        await harness.engine.wait(turn, 0.02)
    again = await harness.turn(session, "again")
    harness.runtimes.before_start.set()
    assert (await harness.engine.wait(again, 10)).error is None
    assert harness.runtimes.opened == [session.id]


async def test_a_message_is_stored_while_its_runtime_still_starts(harness: Harness) -> None:
    harness.runtimes.before_start = asyncio.Event()
    session = await harness.session()
    await harness.turn(session, "early")
    assert await harness.types(session) == ["user.message", "session.status_running"]
    harness.runtimes.before_start.set()


async def test_a_runtime_that_dies_gives_an_error_and_the_next_message_works(harness: Harness) -> None:
    harness.runtimes.play = lambda prompt: (Say("half"), Die()) if prompt == "die" else (Recall(),)
    session = await harness.session()
    end = await harness.say(session, "die")
    assert end.error is not None
    assert end.error.kind is ErrorKind.RUNTIME_DIED
    closing = ["session.error", "session.usage", "session.status_idle"]
    assert (await harness.types(session))[-3:] == closing
    assert (await harness.say(session, "again")).error is None


async def test_the_requests_of_a_turn_whose_runtime_died_are_closed_and_counted(harness: Harness) -> None:
    harness.runtimes.play = lambda _: (Say("one"), Say("two"), Die(in_request=True))
    session = await harness.session()
    end = await harness.say(session, "die")
    assert end.usage == Usage(20, 2)
    log = await harness.log(session)
    starts = [event.id for event in log if event.type is EventType.MODEL_REQUEST_START]
    ends = [event.data for event in log if event.type is EventType.MODEL_REQUEST_END]
    assert [end["model_request_start_id"] for end in ends] == starts
    assert [end["is_error"] for end in ends] == [False, False, True]
    [usage] = [event.data["usage"] for event in log if event.type is EventType.SESSION_USAGE]
    assert (usage["input_tokens"], usage["output_tokens"], usage["cost_usd"]) == (20, 2, None)


async def test_the_tokens_of_an_interrupted_turn_are_those_of_its_requests(harness: Harness) -> None:
    harness.runtimes.play = lambda _: (Say("one"), Hang())
    session = await harness.session()
    turn = await harness.turn(session, "hang")
    await harness.until_said(session)
    turn.interrupt("enough")
    assert (await turn.ended).usage == Usage(10, 1, cost_usd=0.001)


async def test_a_failed_start_gives_an_error_and_the_next_message_works(
    harness: Harness,
) -> None:
    harness.runtimes.start_failures = ["no AVX"]
    session = await harness.session()
    end = await harness.say(session, "one")
    assert end.error is not None
    assert end.error.kind is ErrorKind.RUNTIME_START_FAILED
    assert "no AVX" in end.error.message
    assert (await harness.say(session, "two")).error is None


async def test_unknown_and_closed_sessions(harness: Harness) -> None:
    with pytest.raises(SessionNotFoundError):
        await harness.engine.send("00000000-0000-4000-8000-000000000000", "hi")
    session = await harness.session()
    await harness.store.sessions.set_status(session.id, SessionStatus.CLOSED, session.created_at)
    with pytest.raises(SessionClosedError):
        await harness.turn(session, "hi")
    await harness.engine.resume(session.id)
    assert (await harness.say(session, "hi")).error is None


async def test_a_full_disk_refuses_messages_and_the_session_recovers(make_harness) -> None:
    memory = memory_store(SystemClock())
    store = OtherLog(memory, disk := FullDisk(memory.events))
    async with make_harness(store=store) as harness:
        session = await harness.session()
        disk.full = True
        with pytest.raises(StorageFullError):
            await harness.turn(session, "lost?")
        disk.full = False
        assert (await harness.say(session, "now")).error is None
        assert await harness.types(session) == TYPES_OF_A_PLAIN_TURN


async def test_a_disk_that_fills_up_in_a_turn_loses_nothing_that_was_said(make_harness) -> None:
    memory = memory_store(SystemClock())
    store = OtherLog(memory, disk := FullDisk(memory.events))

    def fill() -> str:
        disk.full = True
        return "ok"

    async with make_harness(store=store) as harness:
        plays = {"fill": (UseTool(run=fill), Say("after"))}
        harness.runtimes.play = lambda prompt: plays.get(prompt, (Say("ok"),))
        session = await harness.session()
        end = await harness.say(session, "fill")
        assert end.error is not None
        assert end.error.kind is ErrorKind.STORAGE_FULL
        disk.full = False
        await harness.say(session, "next")
        events = await harness.log(session)
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        types = [event.type.value for event in events]
        assert types.count("session.status_idle") == types.count("session.status_running") == 2
        assert "agent.tool_result" in types
        assert types.index("session.status_idle") < len(types) - types[::-1].index("user.message") - 1


async def test_a_debt_is_paid_without_a_next_message(make_harness) -> None:
    memory = memory_store(SystemClock())
    store = OtherLog(memory, disk := FullDisk(memory.events))

    def fill() -> str:
        disk.full = True
        return "ok"

    async with make_harness(store=store) as harness:
        harness.runtimes.play = lambda _: (UseTool(run=fill), Say("after"))
        session = await harness.session()
        await harness.say(session, "fill")
        disk.full = False
        await until(lambda: store.sessions._state.sessions[session.id].phase is SessionPhase.IDLE)  # type: ignore[attr-defined]


async def test_deleting_a_busy_session_ends_its_turn_and_its_runtime(harness: Harness) -> None:
    harness.runtimes.play = lambda _: (Hang(),)
    session = await harness.session()
    turn = await harness.turn(session, "hang")
    await until(lambda: harness.engine.stats().runtimes == 1)
    await harness.engine.delete(session.id)
    assert turn.ended.done()
    assert harness.runtimes.alive == {}
    assert harness.runtimes.forgotten == [session.id]
    with pytest.raises(SessionNotFoundError):
        await harness.engine.get(session.id)


async def test_creating_a_session_starts_no_runtime_without_prestart_and_one_with(make_harness) -> None:
    async with make_harness() as harness:
        await harness.session()
        await asyncio.sleep(0)
        assert harness.runtimes.opened == []
    async with make_harness(Limits(prestart=True)) as harness:
        session = await harness.session()
        await until(lambda: harness.runtimes.opened == [session.id])
        assert await harness.types(session) == []


async def test_a_runtime_found_dead_is_replaced_and_the_turn_runs(harness: Harness) -> None:
    session = await harness.session()
    await harness.say(session, "hi")
    harness.runtimes.alive[session.id].kill()
    assert (await harness.say(session, "again")).error is None
    assert harness.runtimes.opened == [session.id, session.id]
    assert (await harness.types(session))[7:] == TYPES_OF_A_PLAIN_TURN


async def test_a_prompt_that_kills_every_runtime_is_given_up(harness: Harness) -> None:
    harness.runtimes.play = lambda prompt: (Die(),) if prompt == "poison" else (Say("ok"),)
    session = await harness.session()
    end = await harness.say(session, "poison")
    assert end.error is not None
    assert end.error.kind is ErrorKind.RUNTIME_DIED
    assert len(harness.runtimes.opened) == 2
    assert (await harness.say(session, "hi")).error is None


async def test_who_waits_is_told_no_success_that_the_log_does_not_have_yet(make_harness) -> None:
    memory = memory_store(SystemClock())
    store = OtherLog(memory, disk := FullDisk(memory.events))
    go_on = asyncio.Event()
    async with make_harness(store=store) as harness:
        harness.runtimes.play = lambda prompt: (Wait(go_on), Say("the answer"))
        session = await harness.session()
        turn = await harness.turn(session, "go")
        await until(lambda: bool(harness.runtimes.alive))
        disk.full = True
        go_on.set()
        end = await harness.engine.wait(turn, 10)
        assert end.error is not None
        assert end.error.kind is ErrorKind.STORAGE_FULL
        disk.full = False
        assert (await harness.say(session, "next")).error is None
        # The turn itself went well, and so says the log once it can.
        assert await harness.types(session) == TYPES_OF_A_PLAIN_TURN * 2


async def test_a_message_that_is_not_stored_in_its_time_is_told_so_and_runs_no_more(make_harness) -> None:
    memory = memory_store(SystemClock())
    store = OtherLog(memory, disk := FullDisk(memory.events))
    async with make_harness(store=store) as harness:
        session = await harness.session()
        disk.answers.clear()
        with pytest.raises(TurnTimeoutError, match=r"timeout of 0.1 s"):
            await harness.turn(session, "late", 0.1)
        disk.answers.set()
        await until(lambda: harness.engine.stats().turns == 0)
        types = await harness.types(session)
        stored = ["user.message", "session.status_running", "user.interrupt", "session.status_idle"]
        assert types == stored
        assert (await harness.say(session, "in time")).error is None
