"""The service's side: an HTTP client that keeps its connections, and costs both sides the same event loop."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

__all__ = ["HttpSide", "http_side"]

_LIMIT_SECONDS = 120


class HttpSide:
    """Calls of the API that check their answer; times are milliseconds."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def get(self, path: str) -> httpx.Response:
        answer = await self._client.get(path)
        answer.raise_for_status()
        return answer

    async def create(self, user: str) -> str:
        answer = await self._client.post("/api/v1/sessions", json={"user_id": user})
        answer.raise_for_status()
        return str(answer.json()["session_id"])

    async def delete(self, session_id: str) -> None:
        (await self._client.delete(f"/api/v1/sessions/{session_id}")).raise_for_status()

    async def chat(self, session_id: str, message: str) -> float:
        """From the request to the whole answer."""
        started = time.perf_counter()
        answer = await self._client.post("/api/v1/chat", json=_ask(session_id, message))
        elapsed = time.perf_counter() - started
        answer.raise_for_status()
        if not answer.json()["text"]:
            raise RuntimeError(f"no text in {answer.text}")
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
        async with self._client.stream("POST", "/api/v1/chat/stream", json=asked) as answer:
            answer.raise_for_status()
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    yield line


@asynccontextmanager
async def http_side(url: str) -> AsyncIterator[HttpSide]:
    async with httpx.AsyncClient(base_url=url, timeout=_LIMIT_SECONDS, trust_env=False) as client:
        yield HttpSide(client)


def _ask(session_id: str, message: str) -> dict[str, Any]:
    return {"session_id": session_id, "message": message}
