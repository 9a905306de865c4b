"""The service's side: a thin HTTP client that keeps its connections.

aiohttp, because the client's own time counts as the service's here: httpx takes 1.5 ms for an empty answer.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

__all__ = ["HttpSide", "http_side"]

_LIMIT_SECONDS = 120


class HttpSide:
    """Calls of the API that check their answer; times are milliseconds."""

    def __init__(self, client: aiohttp.ClientSession) -> None:
        self._client = client

    async def get(self, path: str) -> bytes:
        """The answer's body."""
        async with self._client.get(path) as answer:
            return await answer.read()

    async def create(self, user: str) -> str:
        async with self._client.post("/api/v1/sessions", json={"user_id": user}) as answer:
            return str((await answer.json())["session_id"])

    async def delete(self, session_id: str) -> None:
        async with self._client.delete(f"/api/v1/sessions/{session_id}"):
            return

    async def chat(self, session_id: str, message: str) -> float:
        """From the request to the whole answer."""
        started = time.perf_counter()
        async with self._client.post("/api/v1/chat", json=_ask(session_id, message)) as answer:
            said = await answer.json()
        elapsed = time.perf_counter() - started
        if not said["text"]:
            raise RuntimeError(f"no text in {said}")
        return elapsed * 1000

    async def stream(self, session_id: str, message: str) -> float:
        """From the request to `done`."""
        started = time.perf_counter()
        last = ""
        async for line in self._lines(session_id, message):
            last = line
        elapsed = time.perf_counter() - started
        if '"done"' not in last:
            raise RuntimeError(f"the stream ended with {last}")
        return elapsed * 1000

    async def first_text(self, session_id: str, message: str) -> tuple[str, int]:
        """The first piece of text, and when it was there (nanoseconds of the host's clock)."""
        text, at = "", 0
        async for line in self._lines(session_id, message):
            if not at and '"text_delta"' in line:
                text, at = line, time.time_ns()
        return text, at

    async def _lines(self, session_id: str, message: str) -> AsyncIterator[str]:
        asked = _ask(session_id, message)
        async with self._client.post("/api/v1/chat/stream", json=asked) as answer:
            async for line in answer.content:
                if line.startswith(b"data: "):
                    yield line.decode()


@asynccontextmanager
async def http_side(url: str) -> AsyncIterator[HttpSide]:
    limit = aiohttp.ClientTimeout(total=_LIMIT_SECONDS)
    async with aiohttp.ClientSession(url, timeout=limit, raise_for_status=True) as client:
        yield HttpSide(client)


def _ask(session_id: str, message: str) -> dict[str, Any]:
    return {"session_id": session_id, "message": message}
