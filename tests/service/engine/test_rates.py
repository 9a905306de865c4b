"""How often users may begin turns, and what is counted of them."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_agent_http.domain.errors import RateLimitedError, SessionBusyError
from claude_agent_http.domain.rate import Policy
from claude_agent_http.domain.usage import Spending
from claude_agent_http.engine import Limits, Rate, TurnRates
from claude_agent_http.engine.turn import Turn
from claude_agent_http.runtime.fake import Hang
from claude_agent_http.system.clock import ManualClock

REQUESTS = Policy("requests", 6)
LIMITS = Limits(prestart=False, interrupt_grace_seconds=0.3, max_turns_at_once=50, max_live_per_user=50)


def used(rate: Rate, key: str = "alice") -> int:
    """How many go through at this moment."""
    for count in range(10_000):
        try:
            rate.take(key)
        except RateLimitedError:
            return count
    raise AssertionError("there is no limit")


def test_so_many_at_once_and_then_one_by_one():
    clock = ManualClock()
    rate = Rate(REQUESTS, clock)
    assert used(rate) == 6
    assert used(rate, "bob") == 6
    clock.advance(9.9)
    assert used(rate) == 0
    clock.advance(0.2)
    assert used(rate) == 1
    clock.advance(3600)
    assert used(rate) == 6


@given(st.lists(st.floats(0, 40), max_size=60))
def test_in_no_window_more_than_the_quota_and_one_burst(pauses):
    clock = ManualClock()
    rate = Rate(REQUESTS, clock)
    times: list[float] = []
    for pause in pauses:
        clock.advance(pause)
        times += [clock.monotonic()] * used(rate)
    for start in times:
        assert sum(start <= at < start + 60 for at in times) <= 2 * REQUESTS.quota


def test_it_says_how_long_to_wait_and_that_is_true():
    clock = ManualClock()
    rate = Rate(REQUESTS, clock)
    used(rate)
    with pytest.raises(
        RateLimitedError, match=r"6 requests in 60 s is reached; try again in 10 s"
    ) as refused:
        rate.take("alice")
    assert refused.value.standing.more == refused.value.retry_after == 10
    clock.advance(refused.value.retry_after)
    rate.take("alice")


def test_it_says_when_there_is_more_and_that_is_true():
    clock = ManualClock()
    rate = Rate(REQUESTS, clock)
    assert (rate.standing("alice").remaining, rate.standing("alice").more) == (6, None)
    rate.take("alice")
    rate.take("alice")
    clock.advance(4)
    standing = rate.standing("alice")
    assert (standing.remaining, standing.more) == (4, 6)
    clock.advance(5.9)
    assert rate.standing("alice").remaining == 4
    clock.advance(0.1)
    assert rate.standing("alice").remaining == 5


def test_debts_are_waited_for():
    clock = ManualClock()
    rate = Rate(REQUESTS, clock)
    rate.charge("alice", 18)
    assert rate.standing("alice").wait == 130
    assert rate.standing("alice").remaining == 0
    clock.advance(129)
    assert used(rate) == 0
    clock.advance(1)
    assert used(rate) == 1


def test_a_clock_that_steps_back_gives_nothing():
    clock = ManualClock()
    rate = Rate(REQUESTS, clock)
    used(rate)
    clock.advance(-100)
    assert used(rate) == 0


def test_only_the_last_used_are_remembered():
    rate = Rate(REQUESTS, ManualClock(), most=2)
    for key in ("alice", "bob"):
        used(rate, key)
    rate.charge("alice", 1)
    rate.take("carol")
    assert used(rate, "alice") == 0
    assert used(rate, "bob") == 6


async def test_turns_of_one_user_in_whatever_sessions(make_harness):
    clock = ManualClock()
    async with make_harness(rates=TurnRates(turns=Rate(Policy("turns", 2), clock))) as harness:
        mine = [await harness.session() for _ in range(2)]
        for session in mine:
            assert (await harness.say(session, "hi")).error is None
        with pytest.raises(RateLimitedError, match="2 turns in 60 s"):
            await harness.turn(mine[0], "more")
        assert [one.value for one in harness.telemetry.refusals] == ["rate"]
        assert (await harness.say(await harness.session("bob"), "hi")).error is None
        clock.advance(30)
        assert (await harness.say(mine[0], "more")).error is None


async def test_a_message_that_began_no_turn_counts_as_none(make_harness):
    async with make_harness(rates=TurnRates(turns=Rate(Policy("turns", 2), ManualClock()))) as harness:
        harness.runtimes.play = lambda _: (Hang(),)
        session = await harness.session()
        await harness.turn(session, "hang")
        for _ in range(3):
            with pytest.raises(SessionBusyError):
                await harness.turn(session, "more")
        await harness.turn(await harness.session(), "hang")


async def test_many_at_once_get_no_more_turns_than_one_after_another(make_harness):
    rates = TurnRates(turns=Rate(Policy("turns", 3), ManualClock()))
    async with make_harness(LIMITS, rates=rates) as harness:
        sessions = [await harness.session() for _ in range(12)]
        asked = await asyncio.gather(
            *(harness.turn(session, "hi") for session in sessions), return_exceptions=True
        )
        assert sum(isinstance(one, RateLimitedError) for one in asked) == 9
        ends = [await harness.engine.wait(one, 10) for one in asked if isinstance(one, Turn)]
        assert [end.error for end in ends] == [None] * 3


async def test_turns_that_are_refused_at_once_leave_their_part_to_others(make_harness):
    """Of many messages to one session, one begins a turn; the rest of the limit is still there."""
    rates = TurnRates(turns=Rate(Policy("turns", 3), ManualClock()))
    async with make_harness(LIMITS, rates=rates) as harness:
        harness.runtimes.play = lambda _: (Hang(),)
        session = await harness.session()
        asked = await asyncio.gather(*(harness.turn(session, "hi") for _ in range(3)), return_exceptions=True)
        assert sum(isinstance(one, SessionBusyError) for one in asked) == 2
        for _ in range(2):
            await harness.turn(await harness.session(), "hi")
        with pytest.raises(RateLimitedError):
            await harness.turn(await harness.session(), "hi")


async def test_tokens_are_counted_at_the_end_of_a_turn(make_harness):
    """The fake's answer takes 10 tokens in and 1 out."""
    clock = ManualClock()
    async with make_harness(rates=TurnRates(tokens=Rate(Policy("tokens", 12), clock))) as harness:
        session = await harness.session()
        for _ in range(2):
            assert (await harness.say(session, "hi")).error is None
        with pytest.raises(RateLimitedError, match="12 tokens in 60 s") as refused:
            await harness.turn(session, "more")
        assert refused.value.retry_after == 55
        clock.advance(55)
        assert (await harness.say(session, "more")).error is None


async def test_tokens_that_are_metered_are_counted_once_and_at_once(make_harness):
    clock = ManualClock()
    rates = TurnRates(tokens=Rate(Policy("tokens", 12), clock), is_metered=True)
    async with make_harness(rates=rates) as harness:
        session = await harness.session()
        for _ in range(3):
            assert (await harness.say(session, "hi")).error is None
        spent = Spending(requests=1, input_tokens=4, output_tokens=5, cache_creation_input_tokens=3)
        rates.used("bob", spent)
        rates.used("alice", replace(spent, cache_read_input_tokens=1_000, cache_creation_input_tokens=2))
        assert (await harness.say(session, "one token is left")).error is None
        rates.used("alice", Spending(output_tokens=1))
        with pytest.raises(RateLimitedError, match="12 tokens in 60 s"):
            await harness.turn(session, "more")
