"""Who gets a runtime, who must wait, who makes room."""

import asyncio

import pytest
from tests.service.engine.harness import Harness
from tests.waiting import until

from claude_agent_http.domain.errors import BusyError, DrainingError
from claude_agent_http.domain.session import SessionStatus
from claude_agent_http.engine import Limits
from claude_agent_http.engine.starts import Starts
from claude_agent_http.runtime.fake import Hang, Say, Wait


def limits(**changes) -> Limits:
    return Limits(**{"prestart": False, "interrupt_grace_seconds": 0.3} | changes)


async def test_turns_at_once_are_limited(make_harness) -> None:
    async with make_harness(limits(max_turns_at_once=2)) as harness:
        harness.runtimes.play = lambda _: (Hang(),)
        sessions = [await harness.session(f"user{n}") for n in range(3)]
        for session in sessions[:2]:
            await harness.turn(session, "hang")
        with pytest.raises(BusyError, match="2 turns at once"):
            await harness.turn(sessions[2], "hang")
        await harness.engine.interrupt(sessions[0].id)
        await until(lambda: harness.engine.stats().turns == 1)
        await harness.turn(sessions[2], "hang")


async def test_the_idlest_makes_room(make_harness) -> None:
    async with make_harness(limits(max_live=2)) as harness:
        sessions = [await harness.session(f"user{n}") for n in range(3)]
        for session in sessions:
            await harness.say(session, "hi")
        assert harness.runtimes.closed == [sessions[0].id]
        assert set(harness.runtimes.alive) == {sessions[1].id, sessions[2].id}
        assert (await harness.say(sessions[0], "again")).error is None


async def test_never_more_runtimes_than_the_limit(make_harness) -> None:
    async with make_harness(limits(max_live=3, max_turns_at_once=50)) as harness:
        most = 0

        def play(_: str):
            nonlocal most
            most = max(most, len(harness.runtimes.alive))
            return (Say("ok"),)

        harness.runtimes.play = play
        sessions = [await harness.session(f"user{n}") for n in range(12)]

        async def talk(session) -> None:
            for _ in range(5):
                try:
                    await harness.say(session, "hi")
                except BusyError:
                    await asyncio.sleep(0.002)

        await asyncio.gather(*(talk(session) for session in sessions))
        assert 0 < most <= 3


async def test_when_all_are_busy_the_next_is_refused(make_harness) -> None:
    async with make_harness(limits(max_live=1, max_turns_at_once=9)) as harness:
        harness.runtimes.play = lambda _: (Hang(),)
        first, second = await harness.session("a"), await harness.session("b")
        await harness.turn(first, "hang")
        with pytest.raises(BusyError, match="1 live sessions"):
            await harness.turn(second, "hang")


async def test_one_user_cannot_take_all_places(make_harness) -> None:
    async with make_harness(limits(max_live_per_user=1, max_turns_at_once=9)) as harness:
        gate = asyncio.Event()
        harness.runtimes.play = lambda prompt: (Wait(gate),) if prompt == "wait" else (Say("ok"),)
        mine, mine_too, other = [await harness.session(user) for user in ("a", "a", "b")]
        await harness.turn(mine, "wait")
        with pytest.raises(BusyError, match="one user"):
            await harness.turn(mine_too, "hi")
        assert (await harness.say(other, "hi")).error is None
        gate.set()
        await until(lambda: harness.engine.stats().turns == 0)
        assert (await harness.say(mine_too, "hi")).error is None
        assert mine.id in harness.runtimes.closed


async def test_memory_pressure_hibernates_the_idlest_and_refuses_when_all_are_busy(make_harness) -> None:
    async with make_harness(limits(memory_mb=1000, memory_mb_per_start=250)) as harness:
        gate = asyncio.Event()
        harness.runtimes.play = lambda prompt: (Wait(gate),) if prompt == "wait" else (Say("ok"),)
        idle, busy, last = [await harness.session(user) for user in ("a", "b", "c")]
        await harness.say(idle, "hi")
        harness.memory_mb[0] = 900
        await harness.turn(busy, "wait")
        await until(lambda: idle.id in harness.runtimes.closed)
        with pytest.raises(BusyError, match="memory limit of 1000 MB"):
            await harness.turn(last, "hi")
        gate.set()


async def test_a_memory_limit_that_leaves_no_room_for_one_agent_says_so(make_harness) -> None:
    async with make_harness(limits(memory_mb=200, memory_mb_per_start=250)) as harness:
        session = await harness.session()
        with pytest.raises(BusyError, match=r"no room for one agent process.*raise api.memory_limit_mb"):
            await harness.turn(session, "hi")


async def test_an_idle_session_hibernates_and_wakes_with_its_next_message(make_harness) -> None:
    async with make_harness(limits(idle_seconds=0.05)) as harness:
        session = await harness.session()
        await harness.say(session, "hi")
        await until(lambda: harness.engine.stats().live == 0)
        assert harness.runtimes.closed == [session.id]
        assert (await harness.say(session, "again")).error is None
        assert harness.runtimes.opened == [session.id, session.id]


async def test_a_prestart_takes_nobodys_place(make_harness) -> None:
    async with make_harness(limits(prestart=True, max_live=1)) as harness:
        first = await harness.session("a")
        await until(lambda: harness.runtimes.opened == [first.id])
        second = await harness.session("b")
        assert harness.engine.stats().live == 1
        assert (await harness.say(second, "hi")).error is None
        assert set(harness.runtimes.alive) == {second.id}


async def test_a_drain_lets_turns_end_then_interrupts_and_takes_no_more(make_harness) -> None:
    async with make_harness(limits(max_turns_at_once=9)) as harness:
        gate = asyncio.Event()
        harness.runtimes.play = lambda prompt: (Wait(gate), Say("done")) if prompt == "wait" else (Hang(),)
        ends, hangs, late = [await harness.session(user) for user in ("a", "b", "c")]
        good, cut = await harness.turn(ends, "wait"), await harness.turn(hangs, "hang")
        await until(lambda: harness.engine.stats().runtimes == 2)
        draining = asyncio.create_task(harness.engine.stop(0.2))
        await until(lambda: harness.engine.draining)
        with pytest.raises(DrainingError):
            await harness.turn(late, "hi")
        gate.set()
        await draining
        assert (good.ended.result().interrupted, cut.ended.result().interrupted) == (None, "shutdown")
        assert (await harness.types(hangs))[-1] == "session.status_idle"
        assert harness.runtimes.alive == {}


async def test_a_session_past_its_time_to_live_is_closed(make_harness) -> None:
    async with make_harness(limits(session_ttl_seconds=0.1)) as harness:
        session = await harness.session()
        await harness.say(session, "hi")

        async def closed() -> bool:
            return (await harness.engine.get(session.id)).status is SessionStatus.CLOSED

        await until(closed)
        await until(lambda: harness.runtimes.alive == {})


async def test_stop_is_safe_before_and_after_any_use(harness: Harness) -> None:
    await harness.engine.stop(0)
    await harness.engine.stop(0)


async def test_who_gives_up_as_a_place_becomes_free_leaves_it_to_the_next() -> None:
    starts, done, entered = Starts(1), asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with starts.place(lambda: True):
            await done.wait()

    async def other() -> None:
        async with starts.place(lambda: True):
            entered.set()

    holding, leaving = asyncio.create_task(first()), asyncio.create_task(other())
    await until(lambda: (starts.under_way, starts.waiting) == (1, 1))
    done.set()  # in the same step of the loop in which
    leaving.cancel()  # the one that waits gives up
    await asyncio.gather(holding, leaving, return_exceptions=True)
    assert starts.under_way == 0
    done.clear()
    tasks = [asyncio.create_task(first()), asyncio.create_task(first())]
    await until(lambda: starts.waiting == 1)
    assert starts.under_way == 1
    done.set()
    await asyncio.gather(*tasks)
    assert not entered.is_set()
