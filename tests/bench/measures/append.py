"""Events a second through the engine, over a runtime that costs nothing."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.bench import Bench
from tests.bench.figure import Figure, Target

from claude_agent_http.disk import FolderWorkspaces
from claude_agent_http.engine import Engine, Limits, NewSession
from claude_agent_http.ports import Store
from claude_agent_http.runtime.fake import FakeRuntimeFactory, Say, Step, UseTool
from claude_agent_http.store import sqlite_store
from claude_agent_http.system import RandomIds, SystemClock

__all__ = ["SESSIONS", "Talked", "engine_on", "measure", "messages", "new_sessions", "talk"]

SESSIONS = 20
"""That take their turns at once."""
_TURN_SECONDS = 120
_PAGE = 1000
_TEXT = "a message of some forty characters, whole"


@dataclass(frozen=True, slots=True)
class Talked:
    """`stored` events in turns of `a_turn` events each; `began` and `ended` are Unix seconds."""

    stored: int
    a_turn: int
    began: float
    ended: float


async def measure(bench: Bench) -> list[Figure]:
    tools: Sequence[Step] = [UseTool()] * bench.count(50, 5)
    said, turns = messages(bench.count(200, 20)), bench.count(4, 2)
    target = Target("value", 5000, at_least=True)
    return [
        await _figure(bench.folder, "messages", said, turns, (target,)),
        await _figure(bench.folder, "tools", tools, turns, ()),
    ]


def messages(count: int) -> Sequence[Step]:
    """A turn of so many messages, each of three events."""
    return [Say(_TEXT, whole=True)] * count


async def _figure(
    folder: Path, kind: str, steps: Sequence[Step], turns: int, targets: tuple[Target, ...]
) -> Figure:
    store = sqlite_store(folder / f"{kind}.db", SystemClock())
    async with engine_on(folder, store, steps) as engine:
        talked = await talk(engine, await new_sessions(engine), turns)
    return Figure(
        name=f"append.sqlite.{kind}",
        what=f"events stored, {SESSIONS} sessions at once, {talked.a_turn} events a turn",
        unit="events/s",
        value=talked.stored / (talked.ended - talked.began),
        n=talked.stored,
        targets=targets,
    )


async def new_sessions(engine: Engine) -> list[str]:
    return [(await engine.create(NewSession(f"user-{number}"))).id for number in range(SESSIONS)]


async def talk(engine: Engine, sessions: Sequence[str], turns: int) -> Talked:
    """So many turns in each of the sessions, all sessions at once."""
    began = time.time()
    await asyncio.gather(*(_talk(engine, session_id, turns) for session_id in sessions))
    ended = time.time()
    stored = [await _dense(engine, session_id) for session_id in sessions]
    return Talked(sum(stored), stored[0] // turns, began, ended)


@asynccontextmanager
async def engine_on(folder: Path, store: Store, steps: Sequence[Step]) -> AsyncIterator[Engine]:
    ids, clock = RandomIds(), SystemClock()
    limits = Limits(max_live=SESSIONS, max_turns_at_once=SESSIONS, prestart=False)
    runtimes = FakeRuntimeFactory(ids, lambda _prompt: steps)
    async with AsyncExitStack() as stack:
        await store.open()
        stack.push_async_callback(store.close)
        workspaces = FolderWorkspaces(folder / "users")
        engine = Engine(store, runtimes, workspaces, clock, ids, limits, lambda: 0)
        await engine.start()
        stack.push_async_callback(engine.stop, 0)
        yield engine


async def _talk(engine: Engine, session_id: str, turns: int) -> None:
    for _ in range(turns):
        turn = await engine.send(session_id, "go")
        end = await engine.wait(turn, _TURN_SECONDS)
        if end.error is not None:
            raise RuntimeError(f"a turn failed: {end.error.message}")


async def _dense(engine: Engine, session_id: str) -> int:
    """The number of stored events, which are numbered from 1 without a gap."""
    seqs: list[int] = []
    while page := await engine.events(session_id, after=len(seqs), limit=_PAGE):
        seqs += [event.seq for event in page]
    if seqs != list(range(1, len(seqs) + 1)):
        raise RuntimeError(f"the seqs of {session_id} are not dense")
    return len(seqs)
