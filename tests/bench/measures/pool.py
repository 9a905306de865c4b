"""Live sessions on both sides, each CLI connected and its first turn behind it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from tests.bench.bench import SHORT_TURN, Bench
from tests.bench.http_side import HttpSide, http_side
from tests.bench.processes import Running, service
from tests.bench.sdk_side import SdkSide, sdk_side

__all__ = ["Pool", "live_pool"]


@dataclass(frozen=True, slots=True)
class Pool:
    """Position i of `sessions` and of `bare` are asked beside each other."""

    service: Running
    http: HttpSide
    sessions: list[str]
    bare: list[SdkSide]


@asynccontextmanager
async def live_pool(bench: Bench, size: int) -> AsyncIterator[Pool]:
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(service(bench.folder, bench.model.url))
        http = await stack.enter_async_context(http_side(running.url))
        sessions = [await http.create(f"user-{number}") for number in range(size)]
        bare = [await stack.enter_async_context(sdk_side(bench.folder, bench.model.url)) for _ in range(size)]
        for session_id, client in zip(sessions, bare, strict=True):
            await asyncio.gather(http.chat(session_id, SHORT_TURN), client.turn(SHORT_TURN))
        yield Pool(running, http, sessions, bare)
