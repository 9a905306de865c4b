"""What a running service holds, looked at every few seconds."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path

import psutil
from tests.bench.machine import tree, usage

__all__ = ["QUANTITIES", "Sample", "Watched", "sampled"]


@dataclass(frozen=True, slots=True)
class Sample:
    """`at` is in seconds from the start. Memory in MB: the service's is resident, its agents' proportional.

    `descriptors`, `threads` and `tasks` (asyncio's) are the service's own; `processes` are those below it;
    `database` is the size in MB of its files, `folders` the number of sessions' private ones.
    """

    at: float
    service_memory: float
    agents_memory: float
    descriptors: float
    processes: float
    threads: float
    tasks: float
    database: float
    folders: float


QUANTITIES = tuple(field.name for field in fields(Sample) if field.name != "at")


@dataclass(frozen=True, slots=True)
class Watched:
    """The service `pid`, the files `tasks` (see served.py) and `database`, and the folder of its sessions."""

    pid: int
    tasks: Path
    database: Path
    sessions: Path
    started: float

    def sample(self) -> Sample:
        service = psutil.Process(self.pid)
        return Sample(
            at=time.monotonic() - self.started,
            service_memory=usage(self.pid).rss_mb,
            agents_memory=tree(self.pid).pss_mb,
            descriptors=service.num_fds(),
            processes=len(service.children(recursive=True)),
            threads=service.num_threads(),
            tasks=int(self.tasks.read_text(encoding="ascii")),
            database=sum(map(_size_mb, self.database.parent.glob(f"{self.database.name}*"))),
            folders=sum(path.is_dir() for path in self.sessions.glob("*")),
        )


@asynccontextmanager
async def sampled(watched: Watched, every_seconds: float) -> AsyncIterator[list[Sample]]:
    """A list that grows by a sample each time, until the exit. Raises psutil.NoSuchProcess there when the
    service has ended."""
    samples: list[Sample] = []
    task = asyncio.create_task(_sample(watched, every_seconds, samples), name="sampler")
    try:
        yield samples
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _sample(watched: Watched, every_seconds: float, samples: list[Sample]) -> None:
    while True:
        samples.append(await asyncio.to_thread(watched.sample))
        await asyncio.sleep(every_seconds)


def _size_mb(path: Path) -> float:
    with suppress(FileNotFoundError):
        return path.stat().st_size / 1e6
    return 0.0
