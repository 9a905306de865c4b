"""Readers of `/events/stream`, and how long after each append they have its events."""

import asyncio
import json
import resource
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

import aiohttp

__all__ = ["Readers", "following", "raise_descriptor_limit"]

_CONNECT_SECONDS = 60
_CONNECTING = 50
_EVERYBODY_SECONDS = 30
_LOOK_SECONDS = 0.01


class Readers:
    """What open readers were sent: the lines as they came, decoded only when they are asked for."""

    def __init__(self) -> None:
        self._came: list[tuple[bytes, int]] = []
        self._lost: list[str] = []

    def took(self, line: bytes) -> None:
        self._came.append((line, time.time_ns()))

    def lose(self, reason: str) -> None:
        """A stream ended before its reader went away."""
        self._lost.append(reason)

    async def received(self, count: int) -> None:
        """Until so many events have come in all. Raises RuntimeError when a stream ends before that."""
        async with asyncio.timeout(_EVERYBODY_SECONDS):
            while len(self._came) < count:
                if self._lost:
                    raise RuntimeError(f"a stream ended: {self._lost[0]}")
                await asyncio.sleep(_LOOK_SECONDS)

    def take_delays(self) -> list[float]:
        """Milliseconds from each event's `processed_at` (its transaction began then) to its arrival; once."""
        came, self._came = self._came, []
        return [_delay(line, at) for line, at in came]


@asynccontextmanager
async def following(url: str, session_ids: Sequence[str]) -> AsyncIterator[Readers]:
    """One open reader of each of these sessions (an id may be there often), all in this process.

    Each has had the head of its answer; an append from now on reaches all of its session.
    """
    readers, at_once, open_ = Readers(), asyncio.Semaphore(_CONNECTING), asyncio.Barrier(len(session_ids) + 1)
    limits = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        aiohttp.ClientSession(url, timeout=limits, connector=connector, raise_for_status=True) as client,
        asyncio.TaskGroup() as group,
    ):
        tasks = [group.create_task(_read(client, one, readers, at_once, open_)) for one in session_ids]
        async with asyncio.timeout(_CONNECT_SECONDS):
            await open_.wait()
        try:
            yield readers
        finally:
            for task in tasks:
                task.cancel()


def raise_descriptor_limit() -> None:
    """To what this process may have, for itself and for what it starts: a reader takes one on each side."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _read(
    client: aiohttp.ClientSession,
    session_id: str,
    readers: Readers,
    at_once: asyncio.Semaphore,
    open_: asyncio.Barrier,
) -> None:
    path = f"/api/v1/sessions/{session_id}/events/stream?after=latest"
    async with at_once:
        answer = await client.get(path)
    try:
        await open_.wait()
        async for line in answer.content:
            if line.startswith(b"data: "):
                readers.took(line)
        readers.lose(f"the service closed the stream of {session_id}")
    except aiohttp.ClientError as error:
        readers.lose(f"the stream of {session_id} broke: {error}")
    finally:
        answer.close()


def _delay(line: bytes, at: int) -> float:
    event = json.loads(line.removeprefix(b"data: "))
    appended = datetime.fromisoformat(event["processed_at"]).timestamp()
    return at / 1e6 - appended * 1e3
