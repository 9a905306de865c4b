"""What was spent on models: counted at once, stored in groups, summed up with what others stored."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from types import TracebackType
from typing import Self

from claude_agent_http.domain.errors import StorageError
from claude_agent_http.domain.usage import Account, Spending, UsageBatch
from claude_agent_http.engine.housekeeping import Chore, keep_doing
from claude_agent_http.engine.no_longer import cancelled, no_longer
from claude_agent_http.ports import Clock, UsageStore

__all__ = ["Ledger"]

_EVERY_SECONDS = 1.0
_FORGET_SECONDS = 600.0
_FRESH_SECONDS = 1.0
_LAST_SECONDS = 0.5
_STILL_SECONDS = 0.5
_MOST_READS = 3
_MOST_ACCOUNTS = 10_000
_MOST_SUMS = 10_000
_OTHERS = "(others)"

_Key = tuple[str, str | None, date | None]


@dataclass(slots=True)
class _Sum:
    """What the store said, and what was stored from here since."""

    stored: Spending
    read_at: float


class Ledger:
    """`async with` it; at the end what is left is stored. `writer` is a name never used before.

    A sum is at most a second older than the store, and what others count is stored within another second.
    """

    def __init__(
        self,
        store: UsageStore,
        clock: Clock,
        writer: str,
        told: Callable[[str, Spending], None] | None = None,
    ) -> None:
        """`told` hears of whose spending it was, at once."""
        self._told = told
        self._store = store
        self._clock = clock
        self._writer = writer
        self._number = 0
        self._pending: dict[Account, Spending] = {}
        self._batch: UsageBatch | None = None
        self._sums: dict[_Key, _Sum] = {}
        self._storing = asyncio.Lock()
        self._additions = 0
        self._still = asyncio.Event()
        self._still.set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        store = Chore("storing what was used of models", self._store_all, _EVERY_SECONDS)
        forget = Chore("forgetting what erased users used", self._forget_erased, _FORGET_SECONDS)
        self._tasks = {
            asyncio.create_task(keep_doing(store), name="usage ledger"),
            asyncio.create_task(keep_doing(forget), name="usage of erased users"),
        }
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await cancelled(self._tasks)
        await self.settle(_LAST_SECONDS)

    def record(self, user_id: str, session_id: str, model: str, spending: Spending) -> None:
        """Count it for today; it is stored within about a second."""
        account = Account(user_id, session_id, model, self.today())
        if account not in self._pending and len(self._pending) >= _MOST_ACCOUNTS:
            account = Account(user_id, session_id, _OTHERS, account.day)
        self._pending[account] = self._pending.get(account, Spending()) + spending
        if self._told is not None:
            self._told(user_id, spending)

    def today(self) -> date:
        return self._clock.now().date()

    async def settle(self, seconds: float) -> None:
        """Store now what was counted so far, as far as the time allows; what is not stays counted."""
        with suppress(TimeoutError, StorageError):
            await no_longer(seconds, self._store_all(), "usage ledger's last")

    async def of_session(self, session_id: str) -> Spending:
        """Raises StorageError when the store was not heard of before."""
        key = ("session", session_id, None)
        stored = await self._summed(key, lambda: self._store.total_of_session(session_id))
        return self._with_pending(stored, lambda account: account.session_id == session_id)

    async def of_day(self, day: date, user_id: str | None) -> Spending:
        """Of one user, or of all. Raises StorageError when the store was not heard of before."""
        stored = await self._summed(
            ("day", user_id, day), lambda: self._store.total_of_day(day, user_id=user_id)
        )
        return self._with_pending(
            stored, lambda account: account.day == day and user_id in (None, account.user_id)
        )

    def _with_pending(self, stored: Spending, counts: Callable[[Account], bool]) -> Spending:
        waiting = [*self._pending.items(), *(self._batch.spent if self._batch is not None else ())]
        return sum((spent for account, spent in waiting if counts(account)), stored)

    async def _summed(self, key: _Key, read: Callable[[], Awaitable[Spending]]) -> Spending:
        known = self._sums.get(key)
        if known is not None and self._clock.monotonic() - known.read_at < _FRESH_SECONDS:
            return known.stored
        try:
            stored = await self._read(read)
        except StorageError:
            if known is None:
                raise
            return known.stored
        if len(self._sums) >= _MOST_SUMS:
            self._sums.clear()
        self._sums[key] = _Sum(stored, self._clock.monotonic())
        return stored

    async def _read(self, read: Callable[[], Awaitable[Spending]]) -> Spending:
        """While no batch is being added, for nobody knows whether the sum holds that one: it would count
        twice, or not at all, until it is read again.

        Neither a store that takes nothing nor one that is always being added to keeps the sum back for long:
        it is wrong then by one batch, what was spent here within about a second, and for a second. So it is
        while an addition that was stored seems to have failed, until that is tried again.
        """
        tries = 0
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_STILL_SECONDS):
                    await self._still.wait()
            is_still, before = self._still.is_set(), self._additions
            stored = await read()
            tries += 1
            if not is_still or self._additions == before or tries == _MOST_READS:
                return stored

    async def _store_all(self) -> None:
        """A batch that failed is tried again as it was: one that was stored after all counts once."""
        async with self._storing:
            while self._batch is not None or self._pending:
                batch = self._batch or self._next_batch()
                await self._add(batch)

    async def _add(self, batch: UsageBatch) -> None:
        self._additions += 1
        self._still.clear()
        try:
            await self._store.add(batch)
            self._batch = None
            self._count_as_stored(batch)
        finally:
            self._still.set()

    async def _forget_erased(self) -> None:
        await self._store.forget_erased(self.today())

    def _next_batch(self) -> UsageBatch:
        self._number += 1
        self._batch = UsageBatch(self._writer, self._number, tuple(self._pending.items()))
        self._pending = {}
        return self._batch

    def _count_as_stored(self, batch: UsageBatch) -> None:
        """Until they are read again, the known sums hold it too."""
        for account, spent in batch.spent:
            for key in (
                ("session", account.session_id, None),
                ("day", account.user_id, account.day),
                ("day", None, account.day),
            ):
                if (known := self._sums.get(key)) is not None:
                    known.stored += spent
