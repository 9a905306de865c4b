"""What every runtime does: one suite over the fake and over the real CLI."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from tests.service.runtime.conftest import (
    run_turn,
)
from tests.service.runtime.subject import Subject

from claude_agent_http.domain.errors import RuntimeDiedError, RuntimeStartError
from claude_agent_http.domain.event import Delta, Withdrawn
from claude_agent_http.domain.turn import ErrorKind, StopReason
from claude_agent_http.ports import AgentRuntime


async def test_a_turn_streams_each_message_and_then_gives_it_whole(subject: Subject) -> None:
    async with subject.open() as runtime:
        turn = await run_turn(runtime, subject.think_and_say, "sevt_first")
    thinking = turn.of("agent.thinking")[0]["thinking"]
    assert (thinking, turn.text) == ("let me see", "one two  three")
    for event in turn.events:
        if event.type not in {"agent.message", "agent.thinking"}:
            continue
        deltas = [delta for delta in turn.deltas if delta.event_id == event.id]
        whole = thinking if event.type == "agent.thinking" else turn.text
        assert "".join(delta.text for delta in deltas) == whole
        assert [delta.offset for delta in deltas] == [
            sum(len(earlier.text) for earlier in deltas[:index]) for index in range(len(deltas))
        ]
        assert {delta.event_type for delta in deltas} == {event.type}
        assert turn.items.index(deltas[-1]) < turn.items.index(event)
    assert all(event.turn_id == "sevt_first" for event in turn.events)
    assert len({event.id for event in turn.events}) == len(turn.events)


async def test_a_turn_ends_once_with_its_usage(subject: Subject) -> None:
    async with subject.open() as runtime:
        turn = await run_turn(runtime, subject.think_and_say)
    assert turn.end.stop_reason is StopReason.END_TURN
    assert (turn.end.error, turn.end.interrupted) == (None, None)
    assert turn.end.usage is not None
    assert turn.end.usage.input_tokens > 0
    assert turn.end.usage.output_tokens > 0
    assert turn.end.usage.cost_usd is not None
    assert len([item for item in turn.items if item == turn.end]) == 1


async def test_model_requests_enclose_what_the_model_said(subject: Subject) -> None:
    async with subject.open() as runtime:
        turn = await run_turn(runtime, subject.use_tool)
    spans = [event for event in turn.events if event.type.startswith("span.")]
    assert [span.type for span in spans] == ["span.model_request_start", "span.model_request_end"] * 2
    assert [span.data["model_request_start_id"] for span in spans[1::2]] == [span.id for span in spans[::2]]
    assert not any(span.data["is_error"] for span in spans[1::2])
    assert turn.types.index("agent.message") == len(turn.types) - 2


async def test_the_gate_is_asked_after_the_tool_use_and_before_the_tool_runs(subject: Subject) -> None:
    async with subject.open() as runtime:
        turn = await run_turn(runtime, subject.use_tool, log=subject.gate.log)
    use = turn.of("agent.tool_use")[0]["tool_use_id"]
    order = [f"agent.tool_use {use}", f"gate {use}", f"agent.tool_result {use}"]
    assert [line for line in subject.gate.log if use in line] == order
    assert subject.ran.exists()
    assert turn.of("agent.tool_result")[0]["content"] == [{"type": "text", "text": "out"}]
    assert turn.of("agent.tool_result")[0]["is_error"] is False


async def test_a_denied_tool_does_not_run_and_the_turn_goes_on(subject: Subject) -> None:
    async with subject.open() as runtime:
        turn = await run_turn(runtime, subject.use_forbidden_tool)
    assert len(subject.gate.asked) == 1
    assert not subject.ran.exists()
    assert turn.of("agent.tool_result")[0]["is_error"] is True
    assert turn.text == "finished"


async def test_two_turns_share_memory_and_so_does_a_later_runtime(subject: Subject) -> None:
    async with subject.open() as runtime:
        await run_turn(runtime, subject.think_and_say, "sevt_1")
        second = await run_turn(runtime, subject.recall, "sevt_2")
    async with subject.open() as runtime:
        third = await run_turn(runtime, subject.recall, "sevt_3")
    assert (_count(second.text), _count(third.text)) == (1, 2)
    assert {event.turn_id for event in third.events} == {"sevt_3"}


async def test_a_message_that_is_cut_is_withdrawn_before_it_is_said_again(subject: Subject) -> None:
    async with subject.open() as runtime:
        turn = await run_turn(runtime, subject.cut_once)
    (withdrawn,) = (item for item in turn.items if isinstance(item, Withdrawn))
    (said,) = (event for event in turn.events if event.type == "agent.message")
    pieces = [item.event_id for item in turn.items if isinstance(item, Delta | Withdrawn)]
    again = pieces.index(said.id)
    assert set(pieces[:again]) == {withdrawn.event_id}
    assert set(pieces[again:]) == {said.id}
    assert turn.text == "one two three four"
    assert [end["is_error"] for end in turn.of("span.model_request_end")] == [True, False]


async def test_an_interrupt_ends_the_turn_and_the_next_one_works(subject: Subject) -> None:
    async with subject.open() as runtime:
        items = []
        async with asyncio.timeout(20):
            async for item in runtime.turn(subject.hang, "sevt_1"):
                items.append(item)
                if isinstance(item, Delta) and len([i for i in items if isinstance(i, Delta)]) == 2:
                    await asyncio.create_task(runtime.interrupt())
        end = items[-1]
        assert (end.stop_reason, end.error) == (StopReason.END_TURN, None)
        assert end.interrupted
        following = await run_turn(runtime, subject.think_and_say, "sevt_2")
    assert following.text == "one two  three"
    assert following.end.interrupted is None


async def test_an_interrupt_at_the_very_beginning_is_not_lost(subject: Subject) -> None:
    async with subject.open() as runtime:
        began = asyncio.Event()

        async def interrupt() -> None:
            await began.wait()
            await runtime.interrupt()

        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            tasks.create_task(interrupt())
            asyncio.get_running_loop().call_soon(began.set)
            turn = await run_turn(runtime, subject.hang)
        following = await run_turn(runtime, subject.think_and_say, "sevt_2")
    assert turn.end.interrupted
    assert following.text == "one two  three"


async def test_an_interrupt_keeps_what_was_streamed(subject: Subject) -> None:
    async with subject.open() as runtime:
        items: list[Any] = []
        async for item in runtime.turn(subject.hang, "sevt_1"):
            items.append(item)
            if isinstance(item, Delta) and "tok1" in item.text:
                await runtime.interrupt()
    said = [item for item in items if getattr(item, "type", "") == "agent.message"]
    assert len(said) == 1
    assert said[0].id == next(item.event_id for item in items if isinstance(item, Delta))
    assert said[0].data["content"][0]["text"].startswith("tok0 tok1")


async def test_an_interrupt_without_a_turn_does_nothing(subject: Subject) -> None:
    async with subject.open() as runtime:
        await runtime.interrupt()
        turn = await run_turn(runtime, subject.think_and_say)
    assert turn.end.interrupted is None
    await runtime.interrupt()


async def test_a_death_in_a_turn_is_told_and_the_session_starts_again(subject: Subject) -> None:
    async with subject.open() as runtime:
        with pytest.raises(RuntimeDiedError, match="137"):
            await run_turn(runtime, subject.die)
    async with subject.open() as runtime:
        turn = await run_turn(runtime, subject.think_and_say)
    assert turn.text == "one two  three"


async def test_a_model_failure_is_the_turns_error_and_no_message(subject: Subject) -> None:
    async with subject.open() as runtime:
        turn = await run_turn(runtime, subject.fail)
        following = await run_turn(runtime, subject.think_and_say)
    assert turn.end.stop_reason is StopReason.RETRIES_EXHAUSTED
    assert turn.end.error is not None
    assert turn.end.error.kind is ErrorKind.MODEL_OVERLOADED
    assert "agent.message" not in turn.types
    assert following.end.error is None


async def test_a_start_that_fails_is_told(subject: Subject) -> None:
    with pytest.raises(RuntimeStartError):
        async with subject.open_broken():
            pass


async def kill_in_turn(runtime: AgentRuntime, subject: Subject, turn_id: str) -> None:
    items = runtime.turn(subject.hang, turn_id)
    while not isinstance(await anext(items), Delta):
        pass
    runtime.kill()
    with pytest.raises(RuntimeDiedError):
        [item async for item in items]


async def test_a_killed_runtime_ends_its_turn_at_once(subject: Subject) -> None:
    async with subject.open() as runtime, asyncio.timeout(5):
        await kill_in_turn(runtime, subject, "sevt_1")


async def test_a_turn_that_is_undone_is_no_part_of_the_conversation_and_can_be_run_again(
    subject: Subject,
) -> None:
    async with subject.open() as runtime:
        await run_turn(runtime, subject.think_and_say, "sevt_1")
        await kill_in_turn(runtime, subject, "sevt_2")
    async with subject.open(undo="sevt_2") as runtime:
        again = await run_turn(runtime, subject.think_and_say, "sevt_2")
        recalled = await run_turn(runtime, subject.recall, "sevt_3")
    assert again.text == "one two  three"
    assert _count(recalled.text) == 2
    async with subject.open(undo="sevt_unknown") as runtime:
        recalled = await run_turn(runtime, subject.recall, "sevt_4")
    assert _count(recalled.text) == 3


async def test_the_first_turn_of_a_conversation_can_be_undone(subject: Subject) -> None:
    async with subject.open() as runtime:
        await kill_in_turn(runtime, subject, "sevt_1")
    async with subject.open(undo="sevt_1") as runtime:
        recalled = await run_turn(runtime, subject.recall, "sevt_1")
    assert _count(recalled.text) == 0


async def test_a_turn_that_is_given_up_does_not_spoil_the_next(subject: Subject) -> None:
    async with subject.open() as runtime:
        turn = runtime.turn(subject.hang, "sevt_1")
        async for item in turn:
            if isinstance(item, Delta):
                break
        await runtime.interrupt()
        with suppress(AttributeError):
            await turn.aclose()
        await runtime.interrupt()
        following = await run_turn(runtime, subject.think_and_say, "sevt_2")
    assert following.text == "one two  three"
    assert {event.turn_id for event in following.events} == {"sevt_2"}


def _count(text: str) -> int:
    """How many earlier prompts a recall named: as a JSON list (CLI) or a line each (fake)."""
    return text.count(",") + (text != "[]") if text.startswith("[") else len(text.splitlines())
