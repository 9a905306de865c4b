"""Tools that the user is asked about: one suite over the fake and over the real CLI."""

import asyncio

from tests.service.runtime.conftest import (
    run_turn,
)
from tests.service.runtime.subject import Subject
from tests.waiting import until


async def test_a_tool_that_is_asked_for_runs_when_the_user_allows_it(subject: Subject) -> None:
    """The gate comes first: what it stores must not mean yet that the tool has run."""
    async with subject.open(ask=subject.user) as runtime:
        turn = asyncio.create_task(run_turn(runtime, subject.ask_for_tool, log=subject.gate.log))
        await until_asked(subject, 1)
        assert not subject.ran.exists()
        subject.user.go.set()
        done = await turn
    use = done.of("agent.tool_use")[0]["tool_use_id"]
    order = [f"agent.tool_use {use}", f"gate {use}", f"ask {use}", f"agent.tool_result {use}"]
    assert [line for line in subject.gate.log if use in line] == order
    assert subject.ran.exists()
    assert done.of("agent.tool_result")[0]["is_error"] is False
    assert (subject.user.asked[0].name, done.text) == ("Bash", "finished")


async def test_a_tool_that_the_user_denies_does_not_run_and_the_agent_hears_why(subject: Subject) -> None:
    subject.user.go.set()
    async with subject.open(ask=subject.user) as runtime:
        turn = await run_turn(runtime, subject.ask_for_unwanted_tool)
    assert not subject.ran.exists()
    [result] = turn.of("agent.tool_result")
    assert result["is_error"] is True
    assert "not here" in str(result["content"])
    assert turn.text == "finished"


async def test_several_tools_are_asked_for_in_one_message(subject: Subject) -> None:
    subject.user.go.set()
    async with subject.open(ask=subject.user) as runtime:
        turn = await run_turn(runtime, subject.ask_for_two_tools)
    uses = [event["tool_use_id"] for event in turn.of("agent.tool_use")]
    assert sorted(tool.tool_use_id for tool in subject.user.asked) == sorted(uses)
    failed = {event["tool_use_id"]: event["is_error"] for event in turn.of("agent.tool_result")}
    assert [failed[use] for use in uses] == [False, True]
    assert subject.ran.exists()
    assert not subject.ran.with_name("ran.unwanted").exists()


async def test_an_interrupt_ends_a_turn_that_waits_for_the_user(subject: Subject) -> None:
    async with subject.open(ask=subject.user) as runtime:
        turn = asyncio.create_task(run_turn(runtime, subject.ask_for_tool))
        await until_asked(subject, 1)
        await runtime.interrupt()
        subject.user.denies = ""
        subject.user.go.set()
        done = await turn
        following = await run_turn(runtime, subject.think_and_say, "sevt_2")
    assert done.end.interrupted
    assert not subject.ran.exists()
    assert following.text == "one two  three"


async def test_without_anybody_to_ask_the_tool_is_denied(subject: Subject) -> None:
    async with subject.open(ask=None) as runtime:
        turn = await run_turn(runtime, subject.ask_for_tool)
    assert turn.of("agent.tool_result")[0]["is_error"] is True
    assert not subject.ran.exists()


async def until_asked(subject: Subject, count: int) -> None:
    async def asked() -> bool:
        return len(subject.user.asked) >= count

    await until(asked)
