"""What the service and every process under it use of memory, measured in the background."""

import asyncio
import os
import sys
from collections.abc import Callable
from functools import partial

from claude_agent_http.system.tree_memory import TreeMemory, resident_bytes

_EVERY_SECONDS = 5.0
_MIB = 1024 * 1024


class MemorySampler:
    """`async with` it; call it for the last sample in MiB. Pages that processes share count once on Linux."""

    def __init__(self) -> None:
        self._measure = _measure_of(os.getpid())
        self._mib = self._measure() // _MIB
        self._task: asyncio.Task[None] | None = None

    def __call__(self) -> int:
        return self._mib

    async def __aenter__(self) -> "MemorySampler":
        self._task = asyncio.create_task(self._sample(), name="memory-sampler")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _sample(self) -> None:
        while True:
            self._mib = await asyncio.to_thread(self._measure) // _MIB
            await asyncio.sleep(_EVERY_SECONDS)


def _measure_of(root: int) -> Callable[[], int]:
    return TreeMemory(root).measure if sys.platform == "linux" else partial(resident_bytes, root)
