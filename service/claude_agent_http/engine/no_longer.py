"""A wait that ends in its time. A statement that is cancelled on a connection whose server hangs ends only
when the connection is closed: who waits for that waits too long."""

import asyncio
from collections.abc import Coroutine
from typing import Any

__all__ = ["cancelled", "no_longer"]


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


async def cancelled(tasks: set[asyncio.Task[None]], seconds: float) -> None:
    """Ask them to end, and wait so long at most."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=seconds)
