"""What is spent is stored once, whatever the store does, and limits every replica."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.service.store.values import new_session
from tests.waiting import until

from claude_agent_http.domain.errors import BudgetReachedError, DayBudgetReachedError, StorageError
from claude_agent_http.domain.usage import Budget, BudgetLimits, Spending, UsageBatch
from claude_agent_http.engine import Budgets, Ledger
from claude_agent_http.engine import ledger as ledgers
from claude_agent_http.ports import UsageStore
from claude_agent_http.store import memory_store
from claude_agent_http.store.memory import MemoryStore
from claude_agent_http.system import SystemClock
from claude_agent_http.system.clock import ManualClock

ONE = Spending(1, 100, cost_micro_usd=7)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class UnsureUsage:
    """A usage store that fails before or after it stored, as often as told."""

    def __init__(self, inner: UsageStore) -> None:
        self._inner = inner
        self.fails_before = self.fails_after = 0
        self.error: Exception = StorageError("not reached")
        self.batches: list[UsageBatch] = []
        self.total_of_day, self.total_of_session = inner.total_of_day, inner.total_of_session
        self.of_session, self.of_days = inner.of_session, inner.of_days
        self.erase, self.forget_erased = inner.erase, inner.forget_erased

    async def add(self, batch: UsageBatch) -> None:
        self.batches.append(batch)
        if self.fails_before > 0:
            self.fails_before -= 1
            raise self.error
        await self._inner.add(batch)
        if self.fails_after > 0:
            self.fails_after -= 1
            raise StorageError("the answer was lost")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


async def stored(store: MemoryStore) -> Spending:
    return await store.usage.total_of_day(datetime.now(UTC).date(), user_id="ann")


@pytest.mark.parametrize("when", ["fails_before", "fails_after"])
async def test_a_batch_that_failed_counts_once_in_the_end(when: str) -> None:
    store = MemoryStore(SystemClock())
    unsure = UnsureUsage(store.usage)
    setattr(unsure, when, 2)
    async with Ledger(unsure, SystemClock(), "w") as ledger:
        ledger.record("ann", "s", "claude-a", ONE)
        for _ in range(3):
            await ledger.settle(1)
            ledger.record("ann", "s", "claude-a", ONE)
    assert await stored(store) == ONE + ONE + ONE + ONE


async def test_requests_of_a_second_are_one_batch_and_it_is_stored_unasked() -> None:
    store = MemoryStore(SystemClock())
    unsure = UnsureUsage(store.usage)
    async with Ledger(unsure, SystemClock(), "w") as ledger:
        for _ in range(50):
            ledger.record("ann", "s", "claude-a", ONE)
        await until(lambda: len(unsure.batches) == 1)
    assert len(unsure.batches) == 1
    assert (await stored(store)).requests == 50


async def test_a_store_that_fails_as_nobody_foresaw_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "_EVERY_SECONDS", 0.01)
    store = MemoryStore(SystemClock())
    unsure = UnsureUsage(store.usage)
    unsure.fails_before, unsure.error = 1, ValueError("unforeseen")
    async with Ledger(unsure, SystemClock(), "w") as ledger:
        ledger.record("ann", "s", "claude-a", ONE)
        await until(lambda: len(unsure.batches) == 2)
        assert await stored(store) == ONE


async def test_a_store_that_hangs_does_not_keep_the_end_waiting() -> None:
    class Hanging(UnsureUsage):
        async def add(self, batch: UsageBatch) -> None:
            await asyncio.Event().wait()

    ledger = Ledger(Hanging(MemoryStore(SystemClock()).usage), SystemClock(), "w")
    ledger.record("ann", "s", "claude-a", ONE)
    await ledger.settle(0.01)
    assert (await ledger.of_day(datetime.now(UTC).date(), "ann")) == ONE


def budgets(store: UsageStore, clock: ManualClock, limits: BudgetLimits, writer: str = "w") -> Budgets:
    return Budgets(limits, Ledger(store, clock, writer), clock)


async def test_what_was_just_spent_counts_before_it_is_stored(clock: ManualClock) -> None:
    mine = budgets(memory_store(clock).usage, clock, BudgetLimits(session=Budget(tokens=200)))
    await mine.check("ann", "s")
    mine.ledger.record("ann", "s", "claude-a", ONE)
    await mine.check("ann", "s")
    mine.ledger.record("ann", "s", "claude-a", ONE)
    with pytest.raises(BudgetReachedError, match="200 tokens"):
        await mine.check("ann", "s")
    await mine.check("ann", "another session")


async def test_what_was_stored_counts_before_it_is_read_again(clock: ManualClock) -> None:
    store = MemoryStore(clock)
    session = await store.sessions.create(new_session())
    mine = budgets(store.usage, clock, BudgetLimits(session=Budget(tokens=100)))
    await mine.check("ann", session.id)
    mine.ledger.record("ann", session.id, "claude-a", ONE)
    await mine.ledger.settle(1)
    with pytest.raises(BudgetReachedError):
        await mine.check("ann", session.id)


class Held(UnsureUsage):
    """A usage store that has added, or read, and keeps its answer until it may go; the first time only."""

    def __init__(self, inner: UsageStore, held: str) -> None:
        super().__init__(inner)
        self.done, self.go = asyncio.Event(), asyncio.Event()
        setattr(self, held, self._held(getattr(self, held)))

    def _held(self, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def held(*given: Any, **named: Any) -> Any:
            answer = await call(*given, **named)
            self.done.set()
            await self.go.wait()
            return answer

        return held


async def test_a_sum_that_is_asked_for_while_its_batch_is_stored_counts_it_once(clock: ManualClock) -> None:
    usage = Held(MemoryStore(clock).usage, "add")
    ledger = Ledger(usage, clock, "w")
    ledger.record("ann", "s", "claude-a", ONE)
    storing = asyncio.create_task(ledger.settle(5))
    await usage.done.wait()
    asking = asyncio.create_task(ledger.of_day(NOON.date(), "ann"))
    await asyncio.wait((asking,), timeout=0.05)
    usage.go.set()
    assert await asking == ONE
    await storing
    assert await ledger.of_day(NOON.date(), "ann") == ONE


async def test_a_sum_that_was_read_before_its_batch_was_stored_is_read_again(clock: ManualClock) -> None:
    usage = Held(MemoryStore(clock).usage, "total_of_day")
    ledger = Ledger(usage, clock, "w")
    ledger.record("ann", "s", "claude-a", ONE)
    asking = asyncio.create_task(ledger.of_day(NOON.date(), "ann"))
    await usage.done.wait()
    await ledger.settle(5)
    ledger.record("ann", "s", "claude-a", ONE)
    usage.go.set()
    assert await asking == ONE + ONE
    assert await ledger.of_day(NOON.date(), "ann") == ONE + ONE


async def test_a_store_that_takes_nothing_does_not_keep_sums_back(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "_STILL_SECONDS", 0.01)
    usage = UnsureUsage(MemoryStore(clock).usage)
    asked, never = asyncio.Event(), asyncio.Event()

    async def hangs(_batch: UsageBatch) -> None:
        asked.set()
        await never.wait()

    monkeypatch.setattr(usage, "add", hangs)
    ledger = Ledger(usage, clock, "w")
    ledger.record("ann", "s", "claude-a", ONE)
    storing = asyncio.create_task(ledger.settle(30))
    await asked.wait()
    assert await asyncio.wait_for(ledger.of_day(NOON.date(), "ann"), 5) == ONE
    storing.cancel()
    await asyncio.wait((storing,))


async def test_what_another_replica_spent_counts_a_second_after_it_is_stored(clock: ManualClock) -> None:
    store = MemoryStore(clock)
    limits = BudgetLimits(user_day=Budget(tokens=100))
    mine, other = (budgets(store.usage, clock, limits, writer) for writer in ("mine", "other"))
    await mine.check("ann", "s")
    other.ledger.record("ann", "t", "claude-a", ONE)
    await other.ledger.settle(1)
    await mine.check("ann", "s")
    clock.advance(1.1)
    with pytest.raises(DayBudgetReachedError):
        await mine.check("ann", "s")
    await mine.check("bob", "u")


async def test_a_day_budget_comes_back_with_the_next_utc_day(clock: ManualClock) -> None:
    mine = budgets(memory_store(clock).usage, clock, BudgetLimits(service_day=Budget(micro_usd=7)))
    mine.ledger.record("ann", "s", "claude-a", ONE)
    with pytest.raises(DayBudgetReachedError, match=r"the service's budget of 0\.000007 USD") as reached:
        await mine.check("bob", "t")
    assert reached.value.retry_after == 12 * 3600
    clock.advance(12 * 3600)
    await mine.check("bob", "t")


async def test_what_an_erased_user_used_counts_until_the_day_is_over_and_is_then_forgotten(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "_FORGET_SECONDS", 0.01)
    usage = memory_store(clock).usage
    ledger = Ledger(usage, clock, "w")
    mine = Budgets(BudgetLimits(user_day=Budget(tokens=100)), ledger, clock)
    async with ledger:
        ledger.record("ann", "s", "claude-a", ONE)
        await ledger.settle(1)
        await usage.erase("ann", ledger.today())
        clock.advance(60)
        with pytest.raises(DayBudgetReachedError):
            await mine.check("ann", "another session")
        clock.advance(12 * 3600)

        async def is_forgotten() -> bool:
            return await usage.total_of_day(NOON.date(), user_id=None) == Spending()

        await until(is_forgotten)
        await mine.check("ann", "another session")


async def test_a_sum_that_was_read_holds_while_the_store_fails(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsure = UnsureUsage(memory_store(clock).usage)
    mine = budgets(unsure, clock, BudgetLimits(session=Budget(tokens=100)))

    async def fails(_session_id: str) -> Spending:
        raise StorageError("not reached")

    await mine.check("ann", "s")
    monkeypatch.setattr(unsure, "total_of_session", fails)
    clock.advance(60)
    await mine.check("ann", "s")
    mine.ledger.record("ann", "s", "claude-a", ONE)
    with pytest.raises(BudgetReachedError):
        await mine.check("ann", "s")
    with pytest.raises(StorageError):
        await mine.check("ann", "never heard of")
