"""Blocking work that ends early when nobody waits for it any more."""

import asyncio
from collections.abc import Callable
from threading import Event
from typing import TypeVar

__all__ = ["in_thread"]

T = TypeVar("T")


async def in_thread(work: Callable[[Event], T]) -> T:
    """Do `work` in a thread. Whoever waits may be cancelled, at the end of the process: `work` looks at the
    event it is given, and leaves the rest to a repeat once it is set."""
    stop = Event()
    try:
        return await asyncio.to_thread(work, stop)
    finally:
        stop.set()
