"""A bound on work that whoever shows a credential can cause, before it is known who that is."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from claude_agent_http.domain.errors import ClaudeAgentError

__all__ = ["Lane", "Lanes"]


class Lane:
    """`at_once` take their turn, `waiting` more wait in order, and the rest is told `full`."""

    def __init__(self, *, at_once: int, waiting: int, full: Callable[[], ClaudeAgentError]) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._room = at_once + waiting
        self._full = full

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        if self._room == 0:
            raise self._full()
        self._room -= 1
        try:
            async with self._free:
                yield
        finally:
            self._room += 1


class Lanes:
    """One for everybody, and a narrower one for suspects (see `ports.Authenticator`)."""

    def __init__(self, everybody: Lane, suspects: Lane) -> None:
        self._lanes = {False: everybody, True: suspects}

    def of(self, *, suspect: bool) -> Lane:
        return self._lanes[suspect]
