"""An engine on PostgreSQL in a process of its own: `python -m tests.bench.engine_worker TASK`.

TASK is a `Task` as JSON. The process says READY when it could begin, begins at a line on its standard input
(at its end it ends) and then says, in a line of JSON, what it stored (`Talked`).
"""

import asyncio
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import uvloop
from tests.bench.measures.append import engine_on, messages, new_sessions, talk

from claude_agent_http import logs
from claude_agent_http.store import postgres_store
from claude_agent_http.system import SystemClock

__all__ = ["READY", "Task"]

READY = "ready"


@dataclass(frozen=True, slots=True)
class Task:
    """`turns` of so many `messages` in each session; workspaces are made in `folder`."""

    url: str
    folder: str
    messages: int
    turns: int


async def _work(task: Task) -> None:
    store = postgres_store(task.url, SystemClock())
    async with engine_on(Path(task.folder), store, messages(task.messages)) as engine:
        sessions = await new_sessions(engine)
        _say(READY)
        if await asyncio.to_thread(sys.stdin.readline):
            _say(json.dumps(asdict(await talk(engine, sessions, task.turns))))


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    logs.configure("warning", "console")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_work(Task(**json.loads(sys.argv[1]))))
