"""Waiting for what a test expects instead of sleeping."""

import asyncio
import time
from collections.abc import Awaitable, Callable


async def until(condition: Callable[[], bool | Awaitable[bool]], seconds: float = 5) -> None:
    """Let the loop run until the condition holds. Raises TimeoutError after `seconds`."""
    async with asyncio.timeout(seconds):
        while not await _holds(condition):  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.002)


def wait_until(
    condition: Callable[[], bool],
    seconds: float = 10,
    complaint: Callable[[], str] = lambda: "the condition did not come true in time",
) -> None:
    """The same without a loop. Raises AssertionError after `seconds`."""
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, complaint()
        time.sleep(0.01)  # Between two looks at other processes, which set no event here.


async def _holds(condition: Callable[[], bool | Awaitable[bool]]) -> bool:
    answer = condition()
    return answer if isinstance(answer, bool) else await answer
