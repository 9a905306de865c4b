"""Tools that an agent may run only when the user allows it: one engine, and several on one store."""

import asyncio
from dataclasses import replace

import pytest
from tests.service.engine.cluster import LEASE, LIMITS, Cluster, Pair
from tests.service.engine.harness import Harness
from tests.waiting import until

from claude_agent_http.domain.approval import Approval, Decision
from claude_agent_http.domain.errors import (
    ApprovalConflictError,
    ApprovalNotFoundError,
    ApprovalOverError,
    SessionBusyError,
    SessionNotFoundError,
)
from claude_agent_http.domain.event import EventType
from claude_agent_http.domain.session import Session
from claude_agent_http.engine import Engine, Limits, NewSession
from claude_agent_http.runtime.fake import Say, UseTool, Wait

ALLOW, DENY = Decision.ALLOW, Decision.DENY
OF_TOOLS = (
    "agent.tool_use",
    "agent.tool_started",
    "agent.tool_approval_requested",
    "user.tool_confirmation",
    "agent.tool_result",
)
ASKED = [*OF_TOOLS[:3], "user.tool_confirmation"]


@pytest.fixture
def ran() -> list[str]:
    return []


@pytest.fixture
def asking(ran: list[str]):
    """What an agent does that asks before it runs a tool."""

    def steps(count: int = 1) -> tuple[UseTool | Say, ...]:
        def tool(name: str, beside: UseTool | None = None) -> UseTool:
            def run() -> str:
                ran.append(name)
                return "ok"

            return UseTool(input={"command": name}, run=run, asks=True, beside=beside)

        return (tool("one") if count == 1 else tool("one", tool("two")), Say("done"))

    return steps


async def asked(engine: Engine, session: Session, count: int = 1) -> list[Approval]:
    """Once so many wait."""
    found: list[Approval] = []

    async def waits() -> bool:
        found[:] = await engine.approvals(await engine.get(session.id))
        return len(found) == count

    await until(waits)
    return found


async def of_tools(harness: Harness, session: Session) -> list[str]:
    return [name for name in await harness.types(session) if name in OF_TOOLS]


async def test_a_tool_runs_once_it_is_allowed_and_not_before(harness: Harness, asking, ran):
    harness.runtimes.play = lambda _: asking()
    session = await harness.session()
    turn = await harness.turn(session, "go")
    [approval] = await asked(harness.engine, session)
    assert (approval.tool.name, approval.tool.input, approval.turn_id) == (
        "Bash",
        {"command": "one"},
        turn.id,
    )
    assert (approval.expires_at - approval.requested_at).total_seconds() == pytest.approx(300, abs=5)
    assert await of_tools(harness, session) == list(OF_TOOLS[:3])
    with pytest.raises(SessionBusyError):
        await harness.turn(session, "meanwhile")
    assert ran == []
    await harness.engine.decide(session.id, approval.id, ALLOW, "go ahead")
    assert (await harness.engine.wait(turn, 10)).error is None
    assert ran == ["one"]
    assert await of_tools(harness, session) == [*ASKED, "agent.tool_started", "agent.tool_result"]
    [confirmation] = [one for one in await harness.log(session) if one.type == "user.tool_confirmation"]
    assert confirmation.data == {
        "approval_id": approval.id,
        "tool_use_id": approval.tool.tool_use_id,
        "result": "allow",
        "decided_by": "user",
        "allow_message": "go ahead",
    }
    assert await harness.engine.approvals(await harness.engine.get(session.id)) == ()


async def test_a_denied_tool_does_not_run_and_the_turn_goes_on(harness: Harness, asking, ran):
    harness.runtimes.play = lambda _: asking()
    session = await harness.session()
    turn = await harness.turn(session, "go")
    [approval] = await asked(harness.engine, session)
    await harness.engine.decide(session.id, approval.id, DENY, "not today")
    assert (await harness.engine.wait(turn, 10)).error is None
    assert await of_tools(harness, session) == [*ASKED, "agent.tool_result"]
    [result] = [one.data for one in await harness.log(session) if one.type == "agent.tool_result"]
    assert (ran, result["is_error"]) == ([], True)
    assert "not today" in result["content"][0]["text"]


async def test_several_tools_of_one_message_are_decided_each_for_itself(harness: Harness, asking, ran):
    harness.runtimes.play = lambda _: asking(2)
    session = await harness.session()
    turn = await harness.turn(session, "go")
    first, second = await asked(harness.engine, session, 2)
    await harness.engine.decide(session.id, second.id, ALLOW)
    assert await asked(harness.engine, session) == [first]
    await harness.engine.decide(session.id, first.id, DENY)
    await harness.engine.wait(turn, 10)
    assert ran == [second.tool.input["command"]]


async def test_a_decision_is_taken_once(harness: Harness, asking, ran):
    harness.runtimes.play = lambda _: asking()
    session = await harness.session()
    turn = await harness.turn(session, "go")
    [approval] = await asked(harness.engine, session)
    decide = harness.engine.decide
    many = [decide(session.id, approval.id, [ALLOW, DENY][each % 2]) for each in range(20)]
    outcomes = await asyncio.gather(*many, return_exceptions=True)
    await harness.engine.wait(turn, 10)
    conflicts = [one for one in outcomes if isinstance(one, ApprovalConflictError)]
    stored = {one.seq for one in outcomes if not isinstance(one, BaseException)}
    assert (len(conflicts), len(stored)) == (10, 1)
    [first] = [one for one in await harness.log(session) if one.type == "user.tool_confirmation"]
    assert (first.seq in stored, ran) == (True, ["one"] if first.data["result"] == "allow" else [])
    again = await decide(session.id, approval.id, Decision(first.data["result"]), "another reason")
    assert again == first
    with pytest.raises(ApprovalConflictError):
        await decide(session.id, approval.id, DENY if first.data["result"] == "allow" else ALLOW)


async def test_what_was_never_asked_is_not_found(harness: Harness, asking):
    harness.runtimes.play = lambda _: asking()
    session, other = await harness.session(), await harness.session()
    with pytest.raises(ApprovalNotFoundError):
        await harness.engine.decide(session.id, "sevt_unknown", ALLOW)
    with pytest.raises(SessionNotFoundError):
        await harness.engine.decide("6f1ed002-ab5a-4d4c-8f0b-0c6e3a1a7f11", "sevt_unknown", ALLOW)
    await harness.turn(session, "go")
    [approval] = await asked(harness.engine, session)
    with pytest.raises(ApprovalNotFoundError):
        await harness.engine.decide(other.id, approval.id, ALLOW)
    with pytest.raises(ApprovalNotFoundError):  # an event of the session, but no approval
        await harness.engine.decide(session.id, approval.turn_id or "", ALLOW)


async def test_a_tool_that_nobody_decides_about_is_denied_in_time(make_harness, asking, ran):
    async with make_harness(Limits(prestart=False, approval_seconds=0.05)) as harness:
        harness.runtimes.play = lambda _: asking()
        session = await harness.session()
        assert (await harness.say(session, "go")).error is None
        events = {event.type.value: event for event in await harness.log(session)}
        denied = events["user.tool_confirmation"].data
        assert (ran, denied["result"], denied["decided_by"]) == ([], "deny", "timeout")
        assert "0.05 s" in denied["deny_message"]
        assert "0.05 s" in events["agent.tool_result"].data["content"][0]["text"]
        approval_id = events["agent.tool_approval_requested"].id
        assert (await harness.engine.decide(session.id, approval_id, DENY)).data == denied
        with pytest.raises(ApprovalConflictError, match="in time"):
            await harness.engine.decide(session.id, approval_id, ALLOW)


@pytest.mark.parametrize("how", ["interrupt", "timeout", "drain", "death"])
async def test_the_end_of_the_turn_is_the_end_of_its_approvals(harness: Harness, asking, ran, how):
    harness.runtimes.play = lambda _: asking()
    session = await harness.session()
    turn = await harness.turn(session, "go", 1.0 if how == "timeout" else None)
    [approval] = await asked(harness.engine, session)
    match how:
        case "interrupt":
            await harness.engine.interrupt(session.id)
        case "drain":
            await harness.engine.stop(0)
        case "death":
            harness.runtimes.alive[session.id].kill()
    end = await asyncio.wait_for(asyncio.shield(turn.ended), 5)
    assert (ran, end.interrupted is not None or end.error is not None) == ([], True)
    assert await harness.engine.approvals(await harness.engine.get(session.id)) == ()
    with pytest.raises(ApprovalOverError):
        await harness.engine.decide(session.id, approval.id, ALLOW)
    assert "user.tool_confirmation" not in await harness.types(session)
    started = [one for one in await harness.types(session) if one == "agent.tool_started"]
    assert len(started) == 1  # what the gate stored, before anybody was asked


async def test_an_approval_can_be_given_to_any_replica(cluster: Cluster, pair: Pair, asking, ran):
    a, b = pair
    cluster.plays["go"] = asking()
    session = await a.engine.create(NewSession("alice"))
    turn = await a.engine.send(session.id, "go")
    [approval] = await asked(b.engine, session)
    assert await a.engine.approvals(await a.engine.get(session.id)) == (approval,)
    await b.engine.decide(session.id, approval.id, ALLOW)
    assert (await a.engine.wait(turn, 10)).error is None
    assert ran == ["one"]
    await a.engine.decide(session.id, approval.id, ALLOW)
    with pytest.raises(ApprovalConflictError):
        await a.engine.decide(session.id, approval.id, DENY)


async def test_an_approval_is_heard_of_though_no_word_comes(cluster: Cluster, pair: Pair, asking, ran):
    """The replica that runs the turn asks the database from time to time."""
    a, b = pair
    cluster.plays["go"] = asking(2)
    session = await a.engine.create(NewSession("alice"))
    turn = await a.engine.send(session.id, "go")
    first, second = await asked(b.engine, session, 2)
    a.store.wakeups._bus.members.pop(a.store.wakeups, None)
    await b.engine.decide(session.id, first.id, ALLOW)
    await b.engine.decide(session.id, second.id, ALLOW)
    await a.engine.wait(turn, 10)
    assert sorted(ran) == ["one", "two"]


async def test_replicas_that_decide_at_once_agree(cluster: Cluster, pair: Pair, asking, ran):
    a, b = pair
    cluster.plays["go"] = asking()
    session = await a.engine.create(NewSession("alice"))
    turn = await a.engine.send(session.id, "go")
    [approval] = await asked(a.engine, session)
    one, other = await asyncio.gather(
        a.engine.decide(session.id, approval.id, DENY),
        b.engine.decide(session.id, approval.id, ALLOW),
        return_exceptions=True,
    )
    await a.engine.wait(turn, 10)
    assert sum(isinstance(each, ApprovalConflictError) for each in (one, other)) == 1
    assert ran == (["one"] if isinstance(one, Exception) else [])


async def test_a_turn_whose_owner_dies_before_the_answer_is_run_again_and_asks_again(
    cluster: Cluster, pair: Pair, asking, ran
):
    a, b = pair
    cluster.plays["go"] = asking()
    session = await a.engine.create(NewSession("alice"))
    await a.engine.send(session.id, "go")
    [before] = await asked(b.engine, session)
    a.cut_off()

    async def begun_again() -> bool:
        return "session.status_rescheduled" in await cluster.types(session)

    await until(begun_again, 20 * LEASE)
    with pytest.raises(ApprovalOverError):
        await b.engine.decide(session.id, before.id, ALLOW)
    [again] = await asked(b.engine, session)
    assert again.id != before.id
    await b.engine.decide(session.id, again.id, ALLOW)
    await cluster.until_idle(session)
    assert ran == ["one"]


async def test_a_turn_whose_owner_dies_after_the_allowed_tool_began_is_ended(
    cluster: Cluster, pair: Pair, ran
):
    a, b = pair
    begun, go = asyncio.Event(), asyncio.Event()

    def run() -> str:
        ran.append("one")
        begun.set()
        return "ok"

    cluster.plays["go"] = (UseTool(run=run, asks=True), Wait(go))
    session = await a.engine.create(NewSession("alice"))
    await a.engine.send(session.id, "go")
    [approval] = await asked(a.engine, session)
    await a.engine.decide(session.id, approval.id, ALLOW)
    await begun.wait()
    a.cut_off()
    await cluster.until_idle(session)
    assert "session.status_rescheduled" not in await cluster.types(session)
    assert (ran, b.runtimes.opened) == (["one"], [])
    go.set()


async def test_a_late_answer_at_the_very_end_of_its_time_is_one_or_the_other(cluster: Cluster, asking, ran):
    """Whatever the log took first counts, for the agent and for who decided."""
    limits = replace(LIMITS, approval_seconds=0.03)
    a, b = await cluster.start(limits), await cluster.start(limits)
    cluster.plays["go"] = asking()
    for wait in (0.0, 0.01, 0.02, 0.025, 0.03, 0.035):
        ran.clear()
        session = await a.engine.create(NewSession("alice"))
        turn = await a.engine.send(session.id, "go")
        await cluster.until_type(session, EventType.TOOL_APPROVAL_REQUESTED)
        [request] = [one for one in await cluster.log(session) if "expires_at" in one.data]
        await asyncio.sleep(wait)  # the race itself
        try:
            await b.engine.decide(session.id, request.id, ALLOW)
            allowed = True
        except (ApprovalConflictError, ApprovalOverError):
            allowed = False
        await a.engine.wait(turn, 10)
        assert ran == (["one"] if allowed else [])
