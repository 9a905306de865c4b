"""The starts of runtimes: only so many at once, and those first that a turn waits for."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class _Waiting:
    is_urgent: Callable[[], bool]
    let_in: asyncio.Future[None] = field(default_factory=asyncio.Future)
    has_place: bool = False


class Starts:
    """`last_error` is why the last start failed; None when it did not."""

    def __init__(self, at_once: int) -> None:
        self.last_error: str | None = None
        self._at_once = self._free = at_once
        self._waiting: list[_Waiting] = []

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def under_way(self) -> int:
        return self._at_once - self._free

    @asynccontextmanager
    async def place(self, is_urgent: Callable[[], bool]) -> AsyncIterator[None]:
        """Wait for a place. `is_urgent` is asked each time that one is free: a prestart may get a turn."""
        waiting = _Waiting(is_urgent)
        self._waiting.append(waiting)
        self._let_in()
        try:
            await waiting.let_in
            yield
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
            if waiting.has_place:
                self._free += 1
                self._let_in()

    def _let_in(self) -> None:
        while self._free and self._waiting:
            next_one = next((one for one in self._waiting if one.is_urgent()), self._waiting[0])
            self._waiting.remove(next_one)
            if not next_one.let_in.done():  # else cancelled, and not yet told
                self._free -= 1
                next_one.has_place = True
                next_one.let_in.set_result(None)
