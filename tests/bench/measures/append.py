"""Events a second through the engine, over a runtime that costs nothing."""

import asyncio
import time
import warnings
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path

from tests.bench.bench import Bench
from tests.bench.figure import Figure, Target
from tests.postgres import start_postgres
from tests.probes import PROBES

from claude_agent_http.engine import Engine, Limits, NewSession
from claude_agent_http.ports import Store
from claude_agent_http.runtime.fake import FakeRuntimeFactory, Say, Step, UseTool
from claude_agent_http.runtime.workspaces import FolderWorkspaces
from claude_agent_http.store import postgres_store, sqlite_store
from claude_agent_http.system import RandomIds, SystemClock

__all__ = ["measure"]

_SESSIONS = 20
_TURN_SECONDS = 120
_PAGE = 1000
_TEXT = "a message of some forty characters, whole"


async def measure(bench: Bench) -> list[Figure]:
    messages: Sequence[Step] = [Say(_TEXT, whole=True)] * bench.count(200, 20)
    tools: Sequence[Step] = [UseTool()] * bench.count(50, 5)
    clock, turns = SystemClock(), bench.count(4, 2)
    figures = []
    for kind, steps in (("messages", messages), ("tools", tools)):
        store = sqlite_store(bench.folder / f"{kind}.db", clock)
        figures.append(await _figure(f"sqlite.{kind}", bench.folder, store, steps, turns))
    if PROBES["postgres"]() is None:
        figures += await _on_postgres(bench.folder, messages, turns)
    return figures


async def _on_postgres(folder: Path, steps: Sequence[Step], turns: int) -> list[Figure]:
    with ExitStack() as stack, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")  # it does well without
        # In a thread: starting it takes more than a second.
        server = await asyncio.to_thread(stack.enter_context, start_postgres())
        store = postgres_store(server.url("postgres"), SystemClock())
        return [await _figure("postgres.messages", folder, store, steps, turns)]


async def _figure(name: str, folder: Path, store: Store, steps: Sequence[Step], turns: int) -> Figure:
    async with _engine(folder, store, steps) as engine:
        sessions = [(await engine.create(NewSession(f"user-{number}"))).id for number in range(_SESSIONS)]
        started = time.perf_counter()
        await asyncio.gather(*(_talk(engine, session_id, turns) for session_id in sessions))
        elapsed = time.perf_counter() - started
        stored = [await _dense(engine, session_id) for session_id in sessions]
    target = (Target("value", 5000, at_least=True),) if name == "sqlite.messages" else ()
    return Figure(
        name=f"append.{name}",
        what=f"events stored, {_SESSIONS} sessions at once, {stored[0] // turns} events a turn",
        unit="events/s",
        value=sum(stored) / elapsed,
        n=sum(stored),
        targets=target,
    )


@asynccontextmanager
async def _engine(folder: Path, store: Store, steps: Sequence[Step]) -> AsyncIterator[Engine]:
    ids, clock = RandomIds(), SystemClock()
    limits = Limits(max_live=_SESSIONS, max_turns_at_once=_SESSIONS, prestart=False)
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
