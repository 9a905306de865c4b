"""Events a second through engines on one PostgreSQL, each in a process of its own, over a runtime that costs
nothing."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path

from tests.bench.bench import Bench
from tests.bench.engine_worker import READY, Task
from tests.bench.figure import Figure, Finding, NotMeasured, Target
from tests.bench.measures.append import SESSIONS, Talked
from tests.bench.postgres_side import postgres, why_no_postgres

__all__ = ["measure"]

_ROOT = Path(__file__).resolve().parents[3]
_LIMIT_SECONDS = 300
_END_SECONDS = 20
_ONE, _TWO = "append.postgres.messages", "append.postgres.two_engines"
_WHAT_ONE = f"events stored by one engine on PostgreSQL, {SESSIONS} sessions at once"
_WHAT_TWO = f"events stored by two engines on one PostgreSQL at once, {SESSIONS} sessions each"


async def measure(bench: Bench) -> list[Finding]:
    if reason := why_no_postgres():
        return [NotMeasured(_ONE, _WHAT_ONE, reason), NotMeasured(_TWO, _WHAT_TWO, reason)]
    async with postgres() as server:
        task = Task(server.url("postgres"), str(bench.folder), bench.count(200, 20), bench.count(4, 2))
        alone = await _at_once([task])
        together = await _at_once([task, replace(task, folder=f"{task.folder}-2")])
    return [_one(alone[0]), _two(alone[0], together)]


def _one(alone: Talked) -> Figure:
    return Figure(
        name=_ONE,
        what=f"{_WHAT_ONE}, {alone.a_turn} events a turn",
        unit="events/s",
        value=_rate([alone]),
        n=alone.stored,
        targets=(Target("value", 1500, at_least=True),),
    )


def _two(alone: Talked, together: Sequence[Talked]) -> Figure:
    one, two = _rate([alone]), _rate(together)
    return Figure(
        name=_TWO,
        what=f"{_WHAT_TWO}, on {os.cpu_count()} cores with the database",
        unit="events/s",
        value=two,
        n=sum(talked.stored for talked in together),
        compared_with={"name": "one engine", "value": one, "ratio": two / one},
        details={"cores": os.cpu_count(), "each": [_rate([talked]) for talked in together]},
    )


def _rate(talked: Sequence[Talked]) -> float:
    """From the first one's beginning to the last one's end."""
    seconds = max(one.ended for one in talked) - min(one.began for one in talked)
    return sum(one.stored for one in talked) / seconds


async def _at_once(tasks: Sequence[Task]) -> list[Talked]:
    """Of engines that begin when all are ready."""
    async with asyncio.timeout(_LIMIT_SECONDS), AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(_worker(task)) for task in tasks]
        for worker in workers:
            if (said := await worker.said()) != READY:
                raise RuntimeError(f"an engine said {said!r} before it was ready")
        for worker in workers:
            worker.begin()
        return [Talked(**json.loads(await worker.said())) for worker in workers]


class _Worker:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def said(self) -> str:
        """Its next line."""
        if self._process.stdout is None:
            raise RuntimeError("the engine's process has no output")
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"an engine's process ended with {await self._process.wait()}")
        return line.decode().strip()

    def begin(self) -> None:
        if self._process.stdin is None:
            raise RuntimeError("the engine's process has no input")
        self._process.stdin.write(b"\n")


@asynccontextmanager
async def _worker(task: Task) -> AsyncIterator[_Worker]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.engine_worker", json.dumps(asdict(task))),
        cwd=_ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield _Worker(process)
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    """It ends by itself when it has said all, or will not be told to begin."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(_END_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
