"""Several engines on one store, as replicas share a database: who runs what, and what others see of it."""

import asyncio
from dataclasses import replace

import pytest
from tests.service.engine.cluster import LIMITS, Cluster, Pair, Replica, followed, holds
from tests.waiting import until

from claude_agent_http.domain.errors import BusyError, DrainingError, SessionBusyError, SessionNotFoundError
from claude_agent_http.domain.event import Delta, Event, EventType, Followed, SessionDeleted, Withdrawn
from claude_agent_http.domain.session import Session
from claude_agent_http.domain.turn import ErrorKind
from claude_agent_http.domain.wakeup import Changed
from claude_agent_http.engine import NewSession, relay
from claude_agent_http.runtime.fake import Cut, Hang, Say, UseTool, Wait
from claude_agent_http.system.clock import SystemClock


async def test_a_message_for_a_session_that_lives_elsewhere_is_run_there(
    cluster: Cluster, pair: Pair
) -> None:
    a, b = pair
    session = await a.engine.create(NewSession("alice"))
    await a.say(session, "one")
    end = await b.say(session, "two")
    assert end.error is None
    assert end.usage is not None
    assert (a.runtimes.opened, b.runtimes.opened) == ([session.id], [])
    assert [
        event.data["content"][0]["text"]
        for event in await cluster.log(session)
        if event.type is EventType.AGENT_MESSAGE
    ] == [
        "You said: one",
        "You said: two",
    ]
    assert (await a.say(session, "three")).error is None


async def test_a_session_that_lives_nowhere_is_run_where_its_message_comes(
    cluster: Cluster, pair: Pair
) -> None:
    a, b = pair
    session = await a.engine.create(NewSession("alice"))
    await b.say(session, "one")
    assert (a.runtimes.opened, b.runtimes.opened) == ([], [session.id])


async def test_a_session_is_busy_whoever_is_asked(cluster: Cluster, pair: Pair) -> None:
    a, b = pair
    session = await a.engine.create(NewSession("alice"))
    cluster.plays["slow"] = holds(go := asyncio.Event())
    turn = await a.engine.send(session.id, "slow")
    with pytest.raises(SessionBusyError):
        await b.engine.send(session.id, "me too")
    go.set()
    await a.engine.wait(turn, 10)
    assert (await b.say(session, "now")).error is None


async def test_an_interrupt_reaches_a_turn_elsewhere(cluster: Cluster, pair: Pair) -> None:
    a, b = pair
    session = await a.engine.create(NewSession("alice"))
    cluster.plays["hang"] = (Say("well"), Hang())
    turn = await a.engine.send(session.id, "hang")
    await cluster.until_type(session, EventType.AGENT_MESSAGE)
    assert await b.engine.interrupt(session.id)
    assert (await a.engine.wait(turn, 10)).interrupted == "user"
    assert (await cluster.types(session)).count("user.interrupt") == 1
    assert not await b.engine.interrupt(session.id)


async def test_a_timeout_reaches_a_turn_elsewhere(cluster: Cluster, pair: Pair) -> None:
    a, b = pair
    session = await a.engine.create(NewSession("alice"))
    await a.say(session, "one")
    cluster.plays["hang"] = (Say("well"), Hang())
    turn = await b.engine.send(session.id, "hang", 0.3)
    end = await asyncio.wait_for(asyncio.shield(turn.ended), 5)
    assert end.interrupted == "timeout"
    assert (await a.say(session, "on")).error is None


async def test_a_reader_elsewhere_sees_every_event_once_and_in_order(cluster: Cluster, pair: Pair) -> None:
    a, b = pair
    session = await a.engine.create(NewSession("alice"))
    seen: list[Followed] = []
    reading = asyncio.create_task(followed(b.engine, session, deltas=False, seen=seen))
    for number in range(5):
        await a.say(session, str(number))
    log = await cluster.log(session)
    await until(lambda: len(seen) == len(log))
    assert seen == log
    await b.engine.delete(session.id)
    await asyncio.wait_for(reading, 5)
    assert isinstance(seen[-1], SessionDeleted)


async def test_a_word_that_is_lost_only_delays_however_much_is_heard_of_others(cluster: Cluster) -> None:
    a, b = await cluster.start(), await cluster.start()
    session = await a.engine.create(NewSession("alice"))
    seen: list[Followed] = []
    reading = asyncio.create_task(followed(b.engine, session, deltas=False, seen=seen))
    cluster.store.bus.deaf = True

    async def chatter() -> None:
        while True:
            b.engine._watch.hear(Changed("another"))
            await asyncio.sleep(LIMITS.poll_seconds / 5)

    chattering = asyncio.create_task(chatter())
    await a.say(session, "hi")
    await until(lambda: len(seen) == 7)
    for task in (chattering, reading):
        task.cancel()


async def test_deltas_cross_replicas_from_their_beginning_and_end_in_the_whole_message(
    cluster: Cluster,
) -> None:
    a, b = await cluster.start(), await cluster.start()
    session = await a.engine.create(NewSession("alice"))
    cluster.plays["talk"] = (Wait(go := asyncio.Event()), Say("one two three"))
    seen: list[Followed] = []
    reading = asyncio.create_task(followed(b.engine, session, deltas=True, seen=seen))
    turn = await a.engine.send(session.id, "talk")
    await until(lambda: len(seen) == 2)  # by now the reader's replica has asked for deltas
    go.set()
    await a.engine.wait(turn, 10)
    log = await cluster.log(session)
    await until(lambda: len([item for item in seen if isinstance(item, Event)]) == len(log))
    [message] = [event for event in log if event.type is EventType.AGENT_MESSAGE]
    deltas = [item for item in seen if isinstance(item, Delta)]
    assert {delta.event_id for delta in deltas} == {message.id}
    assert deltas[0].offset == 0
    assert "".join(delta.text for delta in deltas) == "one two three"
    assert seen.index(deltas[-1]) < seen.index(message)
    reading.cancel()


async def test_deltas_cross_for_as_long_as_a_message_is_being_written(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No event says meanwhile that there is something to ask for."""
    monkeypatch.setattr(relay, "_WANTED_SECONDS", 0.5)
    monkeypatch.setattr(relay, "_ASK_SECONDS", 0.1)
    a, b = await cluster.start(), await cluster.start()
    session = await a.engine.create(NewSession("alice"))
    cluster.plays["cut"] = (Cut("a", go := asyncio.Event()), Say("whole"))
    turn = await a.engine.send(session.id, "cut")
    await cluster.until_type(session, EventType.MODEL_REQUEST_START)
    seen: list[Followed] = []
    reading = asyncio.create_task(followed(b.engine, session, deltas=True, seen=seen))

    def text() -> str:
        return "".join(item.text for item in seen if isinstance(item, Delta))

    await until(lambda: text() == "a")
    [begun] = a.engine._hub.partials(session.id)
    written, end = 1, asyncio.get_running_loop().time() + 1.5
    while asyncio.get_running_loop().time() < end:
        a.engine._relay.delta(replace(begun, offset=written, text="b"))
        written += 1
        await until(lambda: len(text()) == written)  # noqa: B023 - it is waited for here
    go.set()
    await a.engine.wait(turn, 10)
    reading.cancel()


async def test_a_late_reader_elsewhere_gets_the_text_so_far(cluster: Cluster) -> None:
    a, b = await cluster.start(), await cluster.start()
    session = await a.engine.create(NewSession("alice"))
    cluster.plays["cut"] = (Cut("half a sen", go := asyncio.Event()), Say("whole"))
    turn = await a.engine.send(session.id, "cut")
    await cluster.until_type(session, EventType.MODEL_REQUEST_START)
    seen: list[Followed] = []
    reading = asyncio.create_task(followed(b.engine, session, deltas=True, seen=seen))
    await until(lambda: any(isinstance(item, Delta) for item in seen))
    assert "".join(item.text for item in seen if isinstance(item, Delta)) == "half a sen"
    go.set()
    await a.engine.wait(turn, 10)
    await until(lambda: any(isinstance(item, Withdrawn) for item in seen))
    reading.cancel()


async def test_deleting_elsewhere_stops_the_session_where_it_lives(cluster: Cluster, pair: Pair) -> None:
    a, b = pair
    session = await a.engine.create(NewSession("alice"))
    cluster.plays["hang"] = (Say("well"), Hang(deaf=True))
    turn = await a.engine.send(session.id, "hang")
    await cluster.until_type(session, EventType.AGENT_MESSAGE)
    await b.engine.delete(session.id)
    assert a.runtimes.alive == {}
    assert (await asyncio.wait_for(asyncio.shield(turn.ended), 5)).error is not None
    for replica in pair:
        with pytest.raises(SessionNotFoundError):
            await replica.engine.get(session.id)


async def test_a_session_closed_elsewhere_hibernates(cluster: Cluster, pair: Pair) -> None:
    a, b = pair
    session = await a.engine.create(NewSession("alice"))
    await a.say(session, "hi")
    await b.store.sessions.close_unused(SystemClock().now())
    await until(lambda: a.runtimes.alive == {})


async def test_a_turn_without_tools_of_a_dead_replica_is_run_again_by_another(cluster: Cluster) -> None:
    a, b = await cluster.start(), await cluster.start()
    session = await a.engine.create(NewSession("alice"))
    cluster.plays["slow"] = holds(go := asyncio.Event())
    turn = await a.engine.send(session.id, "slow")
    await cluster.until_type(session, EventType.AGENT_MESSAGE)
    waiting = asyncio.create_task(b.engine.wait(turn, 10))
    a.cut_off()
    await cluster.until_type(session, EventType.STATUS_RESCHEDULED)
    go.set()
    log = await cluster.until_idle(session)
    assert b.runtimes.undone == [turn.id]
    assert {event.turn_id for event in log} == {turn.id}
    assert (await asyncio.wait_for(asyncio.shield(turn.ended), 5)).error is None
    assert (len(a.telemetry.turns), len(b.telemetry.turns)) == (0, 1)  # it counts where it ended
    assert (await waiting).error is None
    assert (await b.say(session, "next")).error is None


async def test_a_turn_with_a_tool_of_a_dead_replica_is_ended_by_another_and_its_owner_writes_no_more(
    cluster: Cluster,
) -> None:
    a, b = await cluster.start(), await cluster.start()
    session = await a.engine.create(NewSession("alice"))
    ran: list[str] = []

    def run() -> str:
        ran.append("ran")
        return "ok"

    tool = UseTool(run=run)
    cluster.plays["tools"] = (tool, *holds(go := asyncio.Event(), tool))
    turn = await a.engine.send(session.id, "tools")
    await cluster.until_type(session, EventType.AGENT_MESSAGE)
    a.cut_off()
    log = await cluster.until_idle(session)
    assert log[-1].data["stop_reason"]["interrupted"] == "restart"
    go.set()  # the paused owner goes on: its next tool must not run, and nothing that it says is stored
    end = await asyncio.wait_for(asyncio.shield(turn.ended), 5)
    assert ran == ["ran"]
    assert end.error is not None
    assert end.error.kind is ErrorKind.SERVICE_RESTARTED
    assert await cluster.log(session) == log
    await until(lambda: a.runtimes.alive == {})
    assert (await b.say(session, "next")).error is None


async def test_a_replica_whose_leases_ran_out_ends_its_agents_and_joins_again(cluster: Cluster) -> None:
    a = await cluster.start()
    session = await a.engine.create(NewSession("alice"))
    cluster.plays["hang"] = (Say("well"), Hang())
    turn = await a.engine.send(session.id, "hang")
    await cluster.until_type(session, EventType.AGENT_MESSAGE)
    before = a.engine._membership.replica.id
    await cluster.store.leases.leave(before)
    await until(lambda: a.engine._membership.replica.id != before)
    await cluster.until_type(session, EventType.STATUS_RESCHEDULED)
    assert a.runtimes.undone == [turn.id]
    assert await a.engine.interrupt(session.id)
    assert (await asyncio.wait_for(asyncio.shield(turn.ended), 5)).interrupted == "user"


async def test_a_turn_that_waits_for_a_place_moves_to_another_replica_when_its_own_is_drained(
    cluster: Cluster,
) -> None:
    a, b = await cluster.start(), await cluster.start()
    await until(lambda: a.engine.stats().peers == 1)
    session = await a.engine.create(NewSession("alice"))
    a.runtimes.before_start = asyncio.Event()
    turn = await a.engine.send(session.id, "hello")
    waiting = asyncio.create_task(a.engine.wait(turn, 10))
    stopping = asyncio.create_task(a.engine.stop(5))
    await asyncio.sleep(0)
    with pytest.raises(DrainingError):
        await a.engine.send(session.id, "no more")
    assert (await asyncio.wait_for(waiting, 5)).error is None
    await asyncio.wait_for(stopping, 5)
    assert b.runtimes.opened == [session.id]
    log = await cluster.log(session)
    assert EventType.SESSION_ERROR not in {event.type for event in log}


async def test_a_drained_replica_lets_its_running_turn_end_and_gives_its_sessions_up(
    cluster: Cluster, pair: Pair
) -> None:
    a, b = pair
    session = await a.engine.create(NewSession("alice"))
    cluster.plays["slow"] = holds(go := asyncio.Event())
    turn = await a.engine.send(session.id, "slow")
    await cluster.until_type(session, EventType.AGENT_MESSAGE)
    stopping = asyncio.create_task(a.engine.stop(5))
    await asyncio.sleep(0)
    go.set()
    assert (await a.engine.wait(turn, 10)).error is None
    await asyncio.wait_for(stopping, 5)
    assert (await cluster.store.sessions.get(session.id)).lease_holder is None
    assert (await b.say(session, "next")).error is None


async def test_who_waits_here_for_a_turn_elsewhere_may_wait_through_a_drain(
    cluster: Cluster, pair: Pair
) -> None:
    a, b = pair
    session = await a.engine.create(NewSession("alice"))
    await a.say(session, "one")
    cluster.plays["slow"] = holds(go := asyncio.Event())
    turn = await b.engine.send(session.id, "slow")
    waiting = asyncio.create_task(b.engine.wait(turn, 10))
    stopping = asyncio.create_task(b.engine.stop(5))
    await cluster.until_type(session, EventType.AGENT_MESSAGE, 2)
    go.set()
    assert (await asyncio.wait_for(waiting, 5)).error is None
    await asyncio.wait_for(stopping, 5)


async def test_many_messages_at_once_to_both_run_one_at_a_time(cluster: Cluster, pair: Pair) -> None:
    a, _ = pair
    sessions = [await a.engine.create(NewSession(f"user-{number}")) for number in range(4)]

    async def try_to(replica: Replica, session: Session, text: str) -> bool:
        try:
            return (await replica.say(session, text)).error is None
        except BusyError:
            return False

    answers = await asyncio.gather(
        *(
            try_to(replica, session, f"{number}")
            for number in range(6)
            for session in sessions
            for replica in pair
        )
    )
    assert any(answers)
    for session in sessions:
        log = await cluster.until_idle(session)
        assert len([event for event in log if event.type is EventType.STATUS_IDLE]) >= 1


async def test_an_interrupt_is_found_though_its_turn_wrote_on_behind_it(cluster: Cluster, pair: Pair) -> None:
    a, b = pair
    session = await a.engine.create(NewSession("alice"))
    go = asyncio.Event()
    cluster.plays["slow"] = (Wait(go), Say("more"), Hang())
    turn = await a.engine.send(session.id, "slow")
    deaf, cluster.store.bus.deaf = cluster.store.bus.deaf, True
    assert await b.engine.interrupt(session.id, "user")
    go.set()
    await cluster.until_type(session, EventType.AGENT_MESSAGE)
    cluster.store.bus.deaf = deaf
    assert (await a.engine.wait(turn, 10)).interrupted == "user"
