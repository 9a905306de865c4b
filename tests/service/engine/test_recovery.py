"""What a start does with the turns that the last process left unfinished."""

from datetime import timedelta

from tests.service.engine.machine_checks import check_log
from tests.waiting import until

from claude_agent_http.domain import vocabulary
from claude_agent_http.domain.event import Event, EventType, NewEvent
from claude_agent_http.domain.session import SessionPhase
from claude_agent_http.domain.turn import StopReason, Usage
from claude_agent_http.engine import Limits
from claude_agent_http.ports import Store
from claude_agent_http.runtime.fake import Recall
from claude_agent_http.store import memory_store
from claude_agent_http.system.clock import SystemClock

OPENED = [vocabulary.user_message("sevt_t", "cut"), vocabulary.status_running("sevt_r", "sevt_t")]
USED = [
    vocabulary.model_request_start("sevt_1", "sevt_t", "x"),
    vocabulary.model_request_end("sevt_2", "sevt_t", "sevt_1", Usage(7, 3), is_error=False),
    vocabulary.model_request_start("sevt_3", "sevt_t", "x"),
]
TOOL = [vocabulary.agent_tool_started("sevt_4", "sevt_t", "toolu_1", "Bash")]
AGAIN = [vocabulary.status_rescheduled("sevt_5", "sevt_t"), vocabulary.status_running("sevt_6", "sevt_t")]


async def left_by_a_former_process(make_harness, events: list[NewEvent]) -> tuple[Store, str]:
    store = memory_store(SystemClock())
    async with make_harness(store=store) as harness:
        session = await harness.session()
    await store.events.append(session.id, events)
    return store, session.id


async def log_when_idle(store: Store, session_id: str) -> list[Event]:
    async def idle() -> bool:
        return (await store.sessions.get(session_id)).phase is SessionPhase.IDLE

    await until(idle)
    log = await store.events.read(session_id, limit=10_000)
    check_log(log)
    return log


def types(events: list[Event]) -> list[str]:
    return [event.type.value for event in events]


async def test_a_cut_turn_in_which_no_tool_has_started_is_run_again(make_harness) -> None:
    store, session_id = await left_by_a_former_process(make_harness, [*OPENED, *USED])
    async with make_harness(store=store) as harness:
        log = await log_when_idle(store, session_id)
        assert harness.runtimes.undone == ["sevt_t"]
    assert types(log[5:]) == [
        "span.model_request_end",
        "session.error",
        "session.status_rescheduled",
        "session.status_running",
        "span.model_request_start",
        "agent.message",
        "span.model_request_end",
        "session.usage",
        "session.status_idle",
    ]
    assert {event.turn_id for event in log} == {"sevt_t"}
    assert log[6].data["error"]["type"] == "service_restarted_error"
    assert log[6].data["error"]["retry_status"] == {"type": "retrying"}
    assert log[-2].data["usage"]["input_tokens"] == 7 + 10, "what the first run used is used"
    assert log[-1].data["stop_reason"] == {"type": "end_turn"}


async def test_a_turn_that_never_began_runs_as_if_nothing_had_happened(make_harness) -> None:
    store, session_id = await left_by_a_former_process(make_harness, OPENED)
    async with make_harness(store=store):
        log = await log_when_idle(store, session_id)
    assert "session.error" not in types(log)
    assert log[-1].data["stop_reason"] == {"type": "end_turn"}


async def test_a_cut_turn_in_which_a_tool_has_started_ends_and_says_so(make_harness) -> None:
    store, session_id = await left_by_a_former_process(make_harness, [*OPENED, *USED[:2], *TOOL])
    async with make_harness(store=store) as harness:
        log = await harness.engine.events(session_id)
        assert types(log[5:]) == ["session.error", "session.usage", "session.status_idle"]
        assert log[5].data["error"]["retry_status"] == {"type": "exhausted"}
        assert log[6].data["usage"]["input_tokens"] == 7
        assert log[7].data["stop_reason"]["interrupted"] == "restart"
        assert harness.runtimes.opened == []


async def test_the_requests_of_a_cut_turn_are_closed_and_counted(make_harness) -> None:
    whole = [
        vocabulary.user_message("sevt_w", "whole"),
        vocabulary.status_running("sevt_v", "sevt_w"),
        vocabulary.model_request_start("sevt_x", "sevt_w", "x"),
        vocabulary.model_request_end("sevt_y", "sevt_w", "sevt_x", Usage(90, 90), is_error=False),
        vocabulary.session_usage("sevt_u", "sevt_w", Usage(90, 90)),
        vocabulary.status_idle("sevt_z", "sevt_w", StopReason.END_TURN),
    ]
    store, session_id = await left_by_a_former_process(make_harness, [*whole, *OPENED, *TOOL, *USED])
    async with make_harness(store=store):
        log = await log_when_idle(store, session_id)
    request, error, usage, idle = log[-4:]
    assert (request.data["model_request_start_id"], request.data["is_error"]) == ("sevt_3", True)
    assert (usage.data["usage"]["input_tokens"], usage.data["usage"]["output_tokens"]) == (7, 3)
    assert (error.type, idle.type) == (EventType.SESSION_ERROR, EventType.STATUS_IDLE)


async def test_a_turn_that_was_cut_twice_or_interrupted_is_not_run_again(make_harness) -> None:
    interrupt = vocabulary.user_interrupt("sevt_7", "sevt_t", "user")
    for left in ([*OPENED, *USED[:2], *AGAIN], [*OPENED, interrupt]):
        store, session_id = await left_by_a_former_process(make_harness, left)
        async with make_harness(store=store) as harness:
            log = await harness.engine.events(session_id)
            assert (log[-1].type, harness.runtimes.opened) == (EventType.STATUS_IDLE, [])


async def test_an_old_message_is_not_answered_out_of_the_blue(make_harness) -> None:
    store, session_id = await left_by_a_former_process(make_harness, OPENED)
    limits = Limits(prestart=False, turn_seconds=timedelta(microseconds=1).total_seconds())
    async with make_harness(limits, store=store) as harness:
        assert types(await harness.engine.events(session_id, after=2)) == [
            "session.error",
            "session.status_idle",
        ]


async def test_what_is_whole_is_left_alone_and_the_session_answers(make_harness) -> None:
    store = memory_store(SystemClock())
    async with make_harness(store=store) as harness:
        session = await harness.session()
        await harness.say(session, "hi")
        before = await harness.log(session)
    async with make_harness(store=store) as harness:
        assert await harness.log(session) == before
        harness.runtimes.play = lambda _: (Recall(),)
        assert (await harness.say(session, "and?")).stop_reason is StopReason.END_TURN


async def test_the_turn_is_found_far_back_in_a_long_log(make_harness) -> None:
    many = [vocabulary.agent_message(f"sevt_{n}n", "sevt_t", "x") for n in range(1200)]
    store, session_id = await left_by_a_former_process(make_harness, [*OPENED, *TOOL, *many])
    async with make_harness(store=store) as harness:
        last = (await harness.engine.events(session_id, after=1203))[-1]
        assert (last.type.value, last.turn_id) == ("session.status_idle", "sevt_t")
