"""The service's side: a thin HTTP client that keeps its connections.

aiohttp, because the client's own time counts as the service's here: httpx takes 1.5 ms for an empty answer.
"""

import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import aiohttp
from tests.bench.timed import Timed

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

    async def say(self, session_id: str, message: str) -> str:
        """The answer's text."""
        async with self._client.post("/api/v1/chat", json=_ask(session_id, message)) as answer:
            said = await answer.json()
        if not said["text"]:
            raise RuntimeError(f"no text in {said}")
        return str(said["text"])

    async def chat(self, session_id: str, message: str) -> float:
        """From the request to the whole answer."""
        started = time.perf_counter()
        await self.say(session_id, message)
        return (time.perf_counter() - started) * 1000

    async def ask(self, session_id: str, message: str) -> float | None:
        """None when the turn was answered; the seconds to wait when the service has no place for it now."""
        asked = _ask(session_id, message)
        async with self._client.post("/api/v1/chat", json=asked, raise_for_status=False) as answer:
            if answer.status == 429:
                return float(answer.headers["Retry-After"])
            answer.raise_for_status()
            await answer.read()
        return None

    async def stream(self, session_id: str, message: str) -> float:
        """From the request to `done`."""
        return (await self.timed(session_id, message)).whole_ms

    async def timed(self, session_id: str, message: str) -> Timed:
        """A turn on `/chat/stream`, ended by its `done`."""
        asked, first, text, last = time.time_ns(), 0, "", ""
        async for last in self._lines(session_id, message):
            if not first and '"text_delta"' in last:
                text, first = last, time.time_ns()
        ended = time.time_ns()
        if '"done"' not in last or not first:
            raise RuntimeError(f"the stream ended with {last}")
        return Timed(asked, first, ended, text)

    async def begin(self, session_id: str, message: str) -> None:
        """A turn whose asker goes away at its first piece of text."""
        async with aclosing(self._lines(session_id, message)) as lines:
            async for line in lines:
                if '"text_delta"' in line:
                    return

    async def interrupt(self, session_id: str) -> None:
        async with self._client.post(f"/api/v1/sessions/{session_id}/interrupt"):
            return

    async def follow(self, session_id: str) -> AsyncGenerator[dict[str, Any]]:
        """The session's events from the first on, as long as it lives."""
        path, no_limit = f"/api/v1/sessions/{session_id}/events/stream", aiohttp.ClientTimeout(total=None)
        async with self._client.get(path, timeout=no_limit) as answer:
            async for line in answer.content:
                if line.startswith(b"data: "):
                    yield json.loads(line.removeprefix(b"data: "))

    async def _lines(self, session_id: str, message: str) -> AsyncGenerator[str]:
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
