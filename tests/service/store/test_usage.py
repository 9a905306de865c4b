"""The usage store, on every store."""

import asyncio
from datetime import date, timedelta

import pytest
from tests.service.store.values import new_session

from claude_agent_http.domain.usage import Account, DayUsage, Spending, UsageBatch
from claude_agent_http.ports import Store

DAY = date(2026, 3, 1)
ONE = Spending(1, 2, 3, 4, 5, 6)


def spent(session_id: str, spending: Spending = ONE, **more: object) -> tuple[Account, Spending]:
    fields: dict[str, object] = {"user_id": "ann", "model": "claude-a", "day": DAY, **more}
    return Account(session_id=session_id, **fields), spending  # type: ignore[arg-type]


def times(number: int) -> Spending:
    return sum([ONE] * number, Spending())


async def test_nothing_is_used_at_first(store: Store) -> None:
    assert await store.usage.of_session("none") == {}
    assert await store.usage.total_of_session("none") == Spending()
    assert await store.usage.of_days(DAY, DAY, user_id=None) == []
    assert await store.usage.total_of_day(DAY, user_id="ann") == Spending()


async def test_what_is_added_is_summed_by_session_user_model_and_day(store: Store) -> None:
    one, two = [await store.sessions.create(new_session()) for _ in range(2)]
    tomorrow = DAY + timedelta(days=1)
    first = (spent(one.id), spent(two.id), spent(one.id, model="claude-b"))
    await store.usage.add(UsageBatch("w", 1, first))
    second = (spent(one.id), spent(two.id, user_id="bob \\ \x00"), spent(one.id, day=tomorrow))
    await store.usage.add(UsageBatch("w", 2, second))
    assert await store.usage.of_session(one.id) == {"claude-a": times(3), "claude-b": ONE}
    assert await store.usage.total_of_session(one.id) == times(4)
    assert await store.usage.of_days(DAY, tomorrow, user_id="ann") == [
        DayUsage(DAY, "claude-a", times(3)),
        DayUsage(DAY, "claude-b", ONE),
        DayUsage(tomorrow, "claude-a", ONE),
    ]
    assert await store.usage.of_days(DAY, DAY, user_id="bob \\ \x00") == [DayUsage(DAY, "claude-a", ONE)]
    assert await store.usage.of_days(DAY, DAY, user_id=None) == [
        DayUsage(DAY, "claude-a", times(4)),
        DayUsage(DAY, "claude-b", ONE),
    ]
    assert await store.usage.total_of_day(DAY, user_id="ann") == times(4)
    assert await store.usage.total_of_day(DAY, user_id=None) == times(5)


async def test_large_sums_stay_exact(store: Store) -> None:
    session = await store.sessions.create(new_session())
    large = Spending(1, 2**52 + 1, cost_micro_usd=2**52 + 1)
    for number in (1, 2):
        await store.usage.add(UsageBatch("w", number, (spent(session.id, large),)))
    total = await store.usage.total_of_day(DAY, user_id=None)
    assert (total.input_tokens, total.cost_micro_usd) == (2**53 + 2, 2**53 + 2)
    assert await store.usage.total_of_session(session.id) == total


async def test_a_batch_that_is_repeated_counts_once(store: Store) -> None:
    session = await store.sessions.create(new_session())
    batch = UsageBatch("w", 1, (spent(session.id),))
    for _ in range(3):
        await store.usage.add(batch)
    await store.usage.add(UsageBatch("other writer", 1, (spent(session.id),)))
    assert await store.usage.total_of_session(session.id) == times(2)


async def test_a_deleted_session_takes_its_numbers_and_leaves_the_days(store: Store) -> None:
    session = await store.sessions.create(new_session())
    await store.usage.add(UsageBatch("w", 1, (spent(session.id),)))
    await store.sessions.delete(session.id)
    await store.usage.add(UsageBatch("w", 2, (spent(session.id),)))
    assert await store.usage.of_session(session.id) == {}
    assert await store.usage.total_of_day(DAY, user_id="ann") == times(2)


async def test_an_erased_user_has_used_nothing(store: Store) -> None:
    session = await store.sessions.create(new_session())
    await store.usage.add(UsageBatch("w", 1, (spent(session.id), spent(session.id, user_id="bob"))))
    tomorrow = DAY + timedelta(days=1)
    await store.usage.erase("ann", tomorrow)
    await store.usage.erase("nobody", tomorrow)
    assert await store.usage.of_days(DAY, DAY, user_id="ann") == []
    assert await store.usage.total_of_day(DAY, user_id=None) == ONE


async def test_what_an_erased_user_used_today_counts_for_budgets_until_the_day_is_over(store: Store) -> None:
    yesterday, tomorrow = DAY - timedelta(days=1), DAY + timedelta(days=1)
    for number in (1, 2):  # who is erased may come back
        entries = [spent("s", model=model, day=day) for model in "ab" for day in (yesterday, DAY)]
        await store.usage.add(UsageBatch("w", number, (*entries, spent("t", user_id="bob"))))
        await store.usage.erase("ann", DAY)
    assert await store.usage.of_days(yesterday, DAY, user_id="ann") == []
    for day, hers, of_all in ((yesterday, 0, 0), (DAY, 4, 6)):
        assert await store.usage.total_of_day(day, user_id="ann") == times(hers)
        assert await store.usage.total_of_day(day, user_id=None) == times(of_all)
    await store.usage.forget_erased(DAY)
    assert await store.usage.total_of_day(DAY, user_id="ann") == times(4)
    await store.usage.forget_erased(tomorrow)
    assert await store.usage.total_of_day(DAY, user_id="ann") == Spending()
    bobs = DayUsage(DAY, "claude-a", times(2))
    assert await store.usage.of_days(yesterday, tomorrow, user_id=None) == [bobs]


async def test_nothing_is_lost_that_is_used_while_its_user_is_erased(replicas: list[Store]) -> None:
    adds = [
        store.usage.add(UsageBatch(f"w{number}-{nth}", 1, (spent("s"),)))
        for number, store in enumerate(replicas)
        for nth in range(20)
    ]
    erases = [store.usage.erase("ann", DAY) for store in replicas for _ in range(5)]
    await asyncio.gather(*adds, *erases)
    assert await replicas[0].usage.total_of_day(DAY, user_id="ann") == times(20 * len(replicas))


@pytest.mark.parametrize("rounds", [20])
async def test_replicas_that_add_at_once_lose_nothing(replicas: list[Store], rounds: int) -> None:
    sessions = [await replicas[0].sessions.create(new_session()) for _ in range(5)]

    async def add(writer: int, store: Store) -> None:
        for number in range(1, rounds + 1):
            order = sessions if number % 2 else sessions[::-1]
            entries = tuple(spent(session.id) for session in order)
            await store.usage.add(UsageBatch(f"w{writer}", number, entries))

    await asyncio.gather(*(add(number, store) for number, store in enumerate(replicas)))
    expected = rounds * len(replicas)
    assert await replicas[-1].usage.total_of_day(DAY, user_id=None) == times(expected * len(sessions))
    assert await replicas[0].usage.total_of_session(sessions[0].id) == times(expected)
