"""A start ends the turns that the last process left unfinished."""

from claude_agent_http.domain import vocabulary
from claude_agent_http.domain.event import EventType
from claude_agent_http.domain.session import SessionPhase
from claude_agent_http.domain.turn import StopReason, Usage
from claude_agent_http.store import memory_store
from claude_agent_http.system.clock import SystemClock


async def test_cut_turns_end_at_the_next_start_and_the_session_answers(make_harness) -> None:
    store = memory_store(SystemClock())
    async with make_harness(store=store) as harness:
        cut, whole = await harness.session("a"), await harness.session("b")
        await harness.say(whole, "hi")
    opened = [vocabulary.user_message("sevt_t", "cut"), vocabulary.status_running("sevt_r", "sevt_t")]
    await store.events.append(cut.id, opened)
    before = await store.events.read(whole.id)
    async with make_harness(store=store) as harness:
        events = await harness.log(cut)
        assert [event.type.value for event in events[2:]] == ["session.error", "session.status_idle"]
        assert {event.turn_id for event in events} == {"sevt_t"}
        assert events[2].data["error"]["type"] == "service_restarted_error"
        assert (await harness.engine.get(cut.id)).phase is SessionPhase.IDLE
        assert await harness.log(whole) == before


async def test_the_requests_of_a_cut_turn_are_closed_and_counted(make_harness) -> None:
    store = memory_store(SystemClock())
    async with make_harness(store=store) as harness:
        session = await harness.session()
    whole = [
        vocabulary.user_message("sevt_w", "whole"),
        vocabulary.status_running("sevt_v", "sevt_w"),
        vocabulary.model_request_start("sevt_x", "sevt_w", "x"),
        vocabulary.model_request_end("sevt_y", "sevt_w", "sevt_x", Usage(90, 90), is_error=False),
        vocabulary.status_idle("sevt_z", "sevt_w", StopReason.END_TURN),
    ]
    await store.events.append(session.id, whole)
    first = [
        vocabulary.user_message("sevt_t", "cut"),
        vocabulary.status_running("sevt_r", "sevt_t"),
        vocabulary.model_request_start("sevt_1", "sevt_t", "x"),
        vocabulary.model_request_end("sevt_2", "sevt_t", "sevt_1", Usage(7, 3), is_error=False),
        vocabulary.model_request_start("sevt_3", "sevt_t", "x"),
    ]
    await store.events.append(session.id, first)
    async with make_harness(store=store) as harness:
        closing = [event for event in await harness.log(session) if event.turn_id == "sevt_t"][len(first) :]
    request, error, usage, idle = closing
    assert (request.data["model_request_start_id"], request.data["is_error"]) == ("sevt_3", True)
    assert (usage.data["usage"]["input_tokens"], usage.data["usage"]["output_tokens"]) == (7, 3)
    assert (error.type, idle.type) == (EventType.SESSION_ERROR, EventType.STATUS_IDLE)


async def test_the_turn_is_found_far_back_in_a_long_log(make_harness) -> None:
    store = memory_store(SystemClock())
    async with make_harness(store=store) as harness:
        session = await harness.session()
    await store.events.append(session.id, [vocabulary.user_message("sevt_t", "go")])
    await store.events.append(session.id, [vocabulary.status_running("sevt_r", "sevt_t")])
    many = [vocabulary.agent_message(f"sevt_{n}", "sevt_t", "x") for n in range(1200)]
    await store.events.append(session.id, many)
    async with make_harness(store=store) as harness:
        last = (await harness.engine.events(session.id, after=1202))[-1]
        assert (last.type.value, last.turn_id) == ("session.status_idle", "sevt_t")
