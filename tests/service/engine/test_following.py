"""A reader sees each event once, in order, from wherever it starts and however slow it is."""

import asyncio
from typing import Any

import pytest
from tests.service.engine.harness import TYPES_OF_A_PLAIN_TURN, FullDisk, Harness, OtherLog
from tests.waiting import until

from claude_agent_http.domain import vocabulary
from claude_agent_http.domain.event import Delta, Event, EventType, Followed, SessionDeleted, Withdrawn
from claude_agent_http.domain.session import Session
from claude_agent_http.engine.hub import Hub
from claude_agent_http.runtime.fake import Cut, Hang, Say, Wait
from claude_agent_http.store import memory_store
from claude_agent_http.system.clock import SystemClock


async def read(harness: Harness, session: Session, until_seq: int, *, after: int = 0, deltas: bool = False):
    items: list[Followed] = []
    async with asyncio.timeout(10):
        async for item in harness.engine.follow(session.id, after=after, deltas=deltas):
            items.append(item)
            if isinstance(item, Event) and item.seq >= until_seq:
                return items
    return items


@pytest.mark.parametrize("after", range(8))
async def test_replay_from_every_point(harness: Harness, after: int) -> None:
    session = await harness.session()
    await harness.say(session, "one")
    await harness.say(session, "two")
    items = await read(harness, session, 14, after=after)
    assert [item.seq for item in items] == list(range(after + 1, 15))


async def test_a_live_reader_sees_the_same_as_the_log(harness: Harness) -> None:
    session = await harness.session()
    reader = asyncio.create_task(read(harness, session, 14))
    await harness.say(session, "one")
    await harness.say(session, "two")
    assert await reader == await harness.log(session)


async def test_a_reader_that_missed_nothing_of_a_running_turn_does_not_read_the_log(make_harness) -> None:
    memory = memory_store(SystemClock())
    store = OtherLog(memory, log := CountedReads(memory.events))
    go_on = asyncio.Event()
    async with make_harness(store=store) as harness:
        harness.runtimes.play = lambda _: (Wait(go_on), Say("so"))
        session = await harness.session()
        turn = await harness.turn(session, "go")
        seq = (await turn.opened).seq + 1
        before = log.reads
        reader = asyncio.create_task(read(harness, session, 7, after=seq, deltas=True))
        await until(lambda: bool(harness.engine._hub._subscriptions))
        go_on.set()
        events = [item for item in await reader if isinstance(item, Event)]
        assert ([event.seq for event in events], log.reads) == (list(range(seq + 1, 8)), before)
        await turn.ended
        assert harness.engine._hub.head(session.id) is None
        assert [item.seq for item in await read(harness, session, 7)] == list(range(1, 8))


class CountedReads(FullDisk):
    reads = 0

    async def read(self, *args: Any, **kwargs: Any) -> list[Event]:
        self.reads += 1
        return await super().read(*args, **kwargs)


async def test_deltas_join_to_the_message_under_its_id(harness: Harness) -> None:
    harness.runtimes.play = lambda _: (Say("a few words in pieces"),)
    session = await harness.session()
    reader = asyncio.create_task(read(harness, session, 7, deltas=True))
    await until(lambda: bool(harness.engine._hub._subscriptions))
    await harness.say(session, "go")
    items = await reader
    deltas = [item for item in items if isinstance(item, Delta)]
    message = next(item for item in items if isinstance(item, Event) and item.type == "agent.message")
    assert {delta.event_id for delta in deltas} == {message.id}
    assert "".join(delta.text for delta in deltas) == "a few words in pieces"
    offsets = [delta.offset for delta in deltas]
    assert offsets == [sum(len(d.text) for d in deltas[:n]) for n in range(len(deltas))]


async def test_a_late_reader_first_gets_the_text_so_far(harness: Harness) -> None:
    hub, session = harness.engine._hub, await harness.session()
    harness.runtimes.play = lambda _: (Hang(),)
    await harness.turn(session, "go")
    for offset, text in ((0, "Hel"), (3, "lo")):
        hub.publish_delta(Delta(session.id, "sevt_x", EventType.AGENT_MESSAGE, offset, text))
    stream = harness.engine.follow(session.id, after=2, deltas=True)
    first = await anext(stream)
    hub.publish_delta(Delta(session.id, "sevt_x", EventType.AGENT_MESSAGE, 5, " you"))
    second = await anext(stream)
    assert isinstance(first, Delta)
    assert isinstance(second, Delta)
    assert [(first.offset, first.text), (second.offset, second.text)] == [(0, "Hello"), (5, " you")]
    await stream.aclose()


async def test_a_reader_that_falls_behind_its_queue_reads_the_log(harness: Harness) -> None:
    session = await harness.session()
    stream = harness.engine.follow(session.id, after=0, deltas=False)
    await harness.say(session, "first")
    seen = [await anext(stream)]
    for n in range(300):
        await harness.say(session, f"more {n}")
    async with asyncio.timeout(10):
        while seen[-1].seq < 301 * len(TYPES_OF_A_PLAIN_TURN):
            seen.append(await anext(stream))
    assert [item.seq for item in seen] == list(range(1, 301 * 7 + 1))
    await stream.aclose()


async def test_streams_end_when_the_session_or_the_engine_does(harness: Harness) -> None:
    first, second = await harness.session("a"), await harness.session("b")
    readers = [asyncio.create_task(read(harness, session, 99)) for session in (first, second)]
    await until(lambda: len(harness.engine._hub._subscriptions) == 2)
    await harness.engine.delete(first.id)
    await asyncio.wait_for(readers[0], 5)
    await harness.engine.stop(0)
    await asyncio.wait_for(readers[1], 5)
    assert await asyncio.wait_for(read(harness, second, 99), 5) == []


async def test_readers_of_many_kinds_all_agree(harness: Harness) -> None:
    session = await harness.session()
    gate = asyncio.Event()
    harness.runtimes.play = lambda _: (Say("x y z"), Wait(gate), Say("end"))
    turn = await harness.turn(session, "go")
    readers: list[asyncio.Task[list[Event | Delta]]] = []
    for _ in range(20):
        readers.append(asyncio.create_task(read(harness, session, 10, deltas=len(readers) % 2 == 0)))
        await asyncio.sleep(0)
    gate.set()
    await harness.engine.wait(turn, 5)
    log = await harness.log(session)
    assert len(log) == 10
    for reader in readers:
        assert [item for item in await reader if isinstance(item, Event)] == log


def test_nothing_is_kept_for_sessions_that_nobody_follows() -> None:
    hub = Hub()
    with hub.subscribe("s"):
        assert hub._subscriptions
    assert not hub._subscriptions


async def test_following_a_session_that_is_gone_ends_at_once(harness: Harness) -> None:
    session = await harness.session()
    await harness.engine.delete(session.id)
    assert await read(harness, session, 1) == []


async def test_text_that_is_withdrawn_is_taken_back_and_shown_to_no_late_reader(harness: Harness) -> None:
    gate = asyncio.Event()
    harness.runtimes.play = lambda _: (Cut("half a"), Wait(gate), Say("half a word"))
    session = await harness.session()
    early = asyncio.create_task(read(harness, session, 9, deltas=True))
    await until(lambda: bool(harness.engine._hub._subscriptions))
    turn = await harness.turn(session, "go")

    async def cut() -> bool:
        return (await harness.types(session))[-1] == "span.model_request_end"

    await until(cut)
    late = asyncio.create_task(read(harness, session, 9, deltas=True))
    gate.set()
    await turn.ended

    items = await early
    begun = [item.event_id for item in items if isinstance(item, Delta)]
    (withdrawn,) = (item for item in items if isinstance(item, Withdrawn))
    message = next(item for item in items if isinstance(item, Event) and item.type == "agent.message")
    assert withdrawn.event_id == begun[0] != begun[-1] == message.id
    assert withdrawn.event_id not in {item.event_id for item in await late if isinstance(item, Delta)}


async def test_the_last_that_a_follower_hears_of_a_deleted_session_is_its_deletion(harness: Harness) -> None:
    session = await harness.session()
    await harness.say(session, "hi")
    reader = asyncio.create_task(read(harness, session, 100))
    await until(lambda: bool(harness.engine._hub._subscriptions))
    await harness.engine.delete(session.id)
    *_, last = await reader
    assert isinstance(last, SessionDeleted)
    assert last.session_id == session.id


async def test_a_reader_that_lags_at_the_shutdown_still_gets_the_end(harness: Harness) -> None:
    session = await harness.session()
    stream = harness.engine.follow(session.id, after=0, deltas=False)
    await harness.say(session, "first")
    seen = [await anext(stream)]
    for n in range(300):
        await harness.say(session, f"more {n}")
    await harness.engine.stop(0)
    seen += [item async for item in stream]
    assert seen == await harness.engine.events(session.id, limit=5000)


async def test_a_deleted_sessions_lagging_reader_ends_with_its_deletion(harness: Harness) -> None:
    session = await harness.session()
    stream = harness.engine.follow(session.id, after=0, deltas=False)
    await harness.say(session, "first")
    await anext(stream)
    for n in range(300):
        await harness.say(session, f"more {n}")
    await harness.engine.delete(session.id)
    async with asyncio.timeout(5):
        *_, last = [item async for item in stream]
    assert isinstance(last, SessionDeleted)


async def test_deltas_wait_for_the_events_that_a_reader_missed(harness: Harness) -> None:
    hub, session = harness.engine._hub, await harness.session()
    harness.runtimes.play = lambda _: (Hang(),)
    turn = await harness.turn(session, "go")
    stream = harness.engine.follow(session.id, after=0, deltas=True)
    hub.publish_delta(Delta(session.id, "sevt_a", EventType.AGENT_MESSAGE, 0, "a"))
    seen = [await anext(stream) for _ in range(3)]
    assert isinstance(seen[-1], Delta)
    compacted = vocabulary.context_compacted("sevt_c", turn.id)
    hub.publish(session.id, await harness.store.events.append(session.id, [compacted]))
    for number in range(1024):
        hub.publish_delta(Delta(session.id, f"sevt_{number}", EventType.AGENT_MESSAGE, 0, "x"))
    following = await anext(stream)
    assert isinstance(following, Event)
    assert following.seq == 3
    turn.interrupt("user")
    await stream.aclose()


async def test_what_was_begun_and_never_came_is_withdrawn_before_the_idle(harness: Harness) -> None:
    """Such as the words of a process that died."""
    hub, session = harness.engine._hub, await harness.session()
    harness.runtimes.play = lambda _: (Hang(),)
    turn = await harness.turn(session, "go")
    stream = harness.engine.follow(session.id, after=2, deltas=True)
    hub.publish_delta(Delta(session.id, "sevt_x", EventType.AGENT_MESSAGE, 0, "half"))
    items = [await anext(stream)]
    turn.interrupt("user")
    async with asyncio.timeout(5):
        while not (isinstance(items[-1], Event) and items[-1].type is EventType.STATUS_IDLE):
            items.append(await anext(stream))
    assert items[-2] == Withdrawn(session.id, "sevt_x")
    assert hub.partials(session.id) == []
    await stream.aclose()


async def test_a_reader_that_falls_behind_still_hears_what_was_withdrawn(harness: Harness) -> None:
    hub, session = harness.engine._hub, await harness.session()
    stream = harness.engine.follow(session.id, after=0, deltas=True)
    harness.runtimes.play = lambda _: (Hang(),)
    turn = await harness.turn(session, "go")
    begun = Delta(session.id, "sevt_x", EventType.AGENT_MESSAGE, 0, "half")
    hub.publish_delta(begun)
    items = [await anext(stream) for _ in range(3)]
    assert items[-1] == begun
    hub.withdraw(Withdrawn(session.id, "sevt_x"))
    for offset in range(2000):
        hub.publish_delta(Delta(session.id, "sevt_y", EventType.AGENT_MESSAGE, offset, "y"))
    async with asyncio.timeout(5):
        assert await anext(stream) == Withdrawn(session.id, "sevt_x")
        rest = await anext(stream)
    assert isinstance(rest, Delta)
    assert (rest.event_id, rest.text) == ("sevt_y", "y" * 2000)
    turn.interrupt("user")
    await stream.aclose()


async def test_a_reader_without_deltas_hears_nothing_of_what_was_withdrawn(harness: Harness) -> None:
    harness.runtimes.play = lambda _: (Cut("half"), Say("whole"))
    session = await harness.session()
    reader = asyncio.create_task(read(harness, session, 9))
    await until(lambda: bool(harness.engine._hub._subscriptions))
    await harness.say(session, "go")
    assert await reader == await harness.log(session)
