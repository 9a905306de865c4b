"""The databases that a world can stand on."""

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from tests.service.faults.times import LiveLoop, Loop, RealTime, StillTime
from tests.service.store.inspection import end_connections

from claude_agent_http.domain.wakeup import Missed, Wakeup
from claude_agent_http.ports import Store
from claude_agent_http.store import postgres_store
from claude_agent_http.store.memory import MemoryStore
from claude_agent_http.store.memory_leases import Bus, BusWakeups
from claude_agent_http.system.ids import CountedIds, RandomIds

_LAGS = (0, 0, 0, 1, 2, 5)


class _Wire(Bus):
    """Delivers each word in the loop of who hears it, so a paused replica hears it when it goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.loops: dict[BusWakeups, Loop] = {}

    def deliver(self, member: BusWakeups, wakeup: Wakeup) -> None:
        if member in self.members:
            self.loops[member].call_soon(super().deliver, member, wakeup)


class Memory:
    """See `world.Place`. In still time, and so the same in every run. `lags`: how many passes of its loop a
    call may take."""

    def __init__(self, dice: random.Random, lags: Sequence[int] = _LAGS) -> None:
        self.time = StillTime(dice)
        self.ids = CountedIds()
        self._dice = dice
        self._lags = lags
        self._wire = _Wire()
        self._store = MemoryStore(self.time.clock, is_shared=True)

    def connect(self, loop: Loop) -> tuple[Store, Callable[[], Coroutine[Any, Any, None]]]:
        replica = self._store.replica()
        replica.wakeups = BusWakeups(self._wire)
        self._wire.loops[replica.wakeups] = loop
        return replica, replica.close

    async def lag(self) -> None:
        for _ in range(self._dice.choice(self._lags)):
            await asyncio.sleep(0)

    def drop_connections(self) -> None:
        """Who listened missed something, and knows."""
        for member in list(self._wire.members):
            self._wire.deliver(member, Missed())

    def ask(self, question: Callable[[Store], Coroutine[Any, Any, Any]]) -> Any:
        try:
            question(self._store).send(None)
        except StopIteration as done:
            return done.value
        raise AssertionError("the memory store waited")


class Postgres:
    """See `world.Place`. In real time."""

    def __init__(self, url: str) -> None:
        self.time = RealTime()
        self.ids = RandomIds()
        self._url = url
        self._loop = LiveLoop()
        self._store = postgres_store(url, self.time.clock, pool_size=1)
        self._loop.run_until_complete(self._store.open())

    def connect(self, loop: Loop) -> tuple[Store, Callable[[], Coroutine[Any, Any, None]]]:
        store: Any = postgres_store(self._url, self.time.clock, pool_size=3)
        return store, store._database.close

    async def lag(self) -> None: ...

    def drop_connections(self) -> None:
        asyncio.run(end_connections(self._url))

    def ask(self, question: Callable[[Store], Coroutine[Any, Any, Any]]) -> Any:
        return self._loop.run_until_complete(question(self._store))

    def close(self) -> None:
        self._loop.run_until_complete(self._store.close())
        self._loop.close()
