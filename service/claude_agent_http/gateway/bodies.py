"""The bodies of requests under way: they are held whole, and all agents share the memory."""

import asyncio
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from starlette.exceptions import HTTPException
from starlette.requests import Request

__all__ = ["Bodies", "Room"]

_MOST_BYTES = 32 * 1024 * 1024  # The Messages API's own limit.
_MOST_BYTES_OF_ONE = 2 * _MOST_BYTES
_MOST_BYTES_OF_ALL = 192 * 1024 * 1024
_SECONDS = 60.0


class Bodies:
    """`with bodies.room(agent) as room:` round a request of that agent; what it read counts until the block
    ends. A body must come whole in `seconds`."""

    def __init__(
        self,
        most_bytes: int = _MOST_BYTES_OF_ALL,
        most_of_one: int = _MOST_BYTES_OF_ONE,
        seconds: float = _SECONDS,
    ) -> None:
        self._most_bytes = most_bytes
        self._most_of_one = most_of_one
        self.seconds = seconds
        self._taken: Counter[Hashable] = Counter()

    @contextmanager
    def room(self, agent: Hashable) -> Iterator["Room"]:
        room = Room(self, agent)
        try:
            yield room
        finally:
            self._taken[agent] -= room.taken
            if not self._taken[agent]:
                del self._taken[agent]

    def take(self, agent: Hashable, size: int) -> None:
        """Raises HTTPException 429."""
        if self._taken[agent] + size > self._most_of_one:
            raise HTTPException(429, "the requests of this agent are too large together; try again")
        if self._taken.total() + size > self._most_bytes:
            raise HTTPException(429, "the requests of all agents are too large together; try again")
        self._taken[agent] += size


class Room:
    def __init__(self, bodies: Bodies, agent: Hashable) -> None:
        self._bodies = bodies
        self._agent = agent
        self.taken = 0

    async def read(self, request: Request) -> bytes:
        """Raises HTTPException 413, 429 or 408; ClientDisconnect."""
        body = bytearray()
        try:
            async with asyncio.timeout(self._bodies.seconds):
                async for chunk in request.stream():
                    self._take(len(chunk))
                    body += chunk
        except TimeoutError:
            message = f"the request did not come whole within {self._bodies.seconds:g} s"
            raise HTTPException(408, message) from None
        return bytes(body)

    def _take(self, size: int) -> None:
        if self.taken + size > _MOST_BYTES:
            raise HTTPException(413, "the request exceeds the maximum size of 32 MB")
        self._bodies.take(self._agent, size)
        self.taken += size
