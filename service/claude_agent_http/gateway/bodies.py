"""The bodies of requests under way: they are held whole, and all agents share the memory."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.exceptions import HTTPException
from starlette.requests import Request

__all__ = ["Bodies", "Room"]

_MOST_BYTES = 32 * 1024 * 1024  # The Messages API's own limit.
_MOST_BYTES_OF_ALL = 192 * 1024 * 1024
_SECONDS = 60.0


class Bodies:
    """`with bodies.room() as room:` round a request; what it read counts until the block ends."""

    def __init__(self, most_bytes: int = _MOST_BYTES_OF_ALL) -> None:
        self.left = most_bytes

    @contextmanager
    def room(self) -> Iterator["Room"]:
        room = Room(self)
        try:
            yield room
        finally:
            self.left += room.taken


class Room:
    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self.taken = 0

    async def read(self, request: Request) -> bytes:
        """Raises HTTPException 413, 429 or 408; ClientDisconnect."""
        body = bytearray()
        try:
            async with asyncio.timeout(_SECONDS):
                async for chunk in request.stream():
                    self._take(len(chunk))
                    body += chunk
        except TimeoutError:
            raise HTTPException(408, f"the request did not come whole within {_SECONDS:g} s") from None
        return bytes(body)

    def _take(self, size: int) -> None:
        if self.taken + size > _MOST_BYTES:
            raise HTTPException(413, "the request exceeds the maximum size of 32 MB")
        if size > self._bodies.left:
            raise HTTPException(429, "the requests of all agents are too large together; try again")
        self._bodies.left -= size
        self.taken += size
