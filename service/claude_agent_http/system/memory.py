"""What the service and every process under it use of memory, measured in the background."""

import asyncio
from pathlib import Path

import psutil

_EVERY_SECONDS = 5.0
_MIB = 1024 * 1024


class MemorySampler:
    """`async with` it; call it for the last sample in MiB. Pages that processes share count once."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._mib = _measure(self._process)
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
            self._mib = await asyncio.to_thread(_measure, self._process)
            await asyncio.sleep(_EVERY_SECONDS)


def _measure(process: psutil.Process) -> int:
    return sum(_bytes_of(one) for one in [process, *process.children(recursive=True)]) // _MIB


def _bytes_of(process: psutil.Process) -> int:
    """Proportional set size where the kernel tells it, else resident size; 0 for a process that is gone."""
    try:
        rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii")
        return next(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return _resident(process)


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
