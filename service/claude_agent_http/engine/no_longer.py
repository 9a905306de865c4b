"""A wait that ends in its time. A statement that is cancelled on a connection whose server hangs ends only
when the connection is closed: who waits for that waits too long."""

import asyncio
from collections.abc import Coroutine
from typing import Any

__all__ = ["cancelled", "no_longer"]

_LAST_SECONDS = 0.3


async def no_longer(than_seconds: float, work: Coroutine[Any, Any, None], name: str) -> None:
    """Raises TimeoutError; the work is cancelled then, and not waited for."""
    task = asyncio.create_task(work, name=name)
    try:
        done, _ = await asyncio.wait({task}, timeout=than_seconds)
    finally:
        if not task.done():
            task.cancel()
    if not done:
        raise TimeoutError
    task.result()


async def cancelled(tasks: set[asyncio.Task[None]]) -> None:
    """Ask them to end, and wait 0.3 s at most: a shutdown has several of these, and 15 s for all."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=_LAST_SECONDS)
