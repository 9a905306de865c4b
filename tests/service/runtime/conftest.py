"""One demo model for the whole folder, and runtimes against it."""

import asyncio
import json
import shutil
import tempfile
import threading
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from claude_agent_http.demo.app import create_demo_model
from claude_agent_http.domain.approval import AskedTool, Verdict
from claude_agent_http.domain.event import Delta, NewEvent
from claude_agent_http.domain.lease import Lease
from claude_agent_http.domain.session import Session
from claude_agent_http.domain.turn import TurnEnd
from claude_agent_http.gateway import FixedModelAccess
from claude_agent_http.ports import AgentRuntime, ModelAccess, RuntimeItem, Store, ToolAsk, ToolGate
from claude_agent_http.runtime import CliRuntimeFactory, RuntimeConfig
from claude_agent_http.runtime.cli import CliRuntime
from claude_agent_http.store import memory_store
from claude_agent_http.system import SystemClock
from claude_agent_http.system.ids import CountedIds
from claude_agent_http.system.loopback import LoopbackServer

SECRET = "sk-demo-4f1b9c"


def script(*steps: dict[str, Any]) -> str:
    """A prompt that tells the demo model what to answer."""
    return json.dumps({"script": list(steps)})


def bash(command: str, **more: Any) -> dict[str, Any]:
    return {"tool": "Bash", "input": {"command": command}, **more}


REPORT = {"text": "{{tool_result}}"}


def make_session(cwd: Path, session_id: str | None = None) -> Session:
    """One that `lease_of` is the lease of."""
    now = datetime.now(UTC)
    made = Session(session_id or str(uuid4()), "alice", None, str(cwd), now, now, "digest")
    return replace(made, lease_holder="replica", lease_epoch=1)


def lease_of(session: Session) -> Lease:
    return Lease(session.id, session.lease_holder or "", session.lease_epoch)


@dataclass
class Gate:
    """Lets tools run, but those whose input holds `denies`; `asked` says in which order."""

    denies: str = "forbidden"
    asked: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    async def __call__(self, tool_use_id: str, name: str, given: dict[str, Any]) -> bool:
        self.asked.append((tool_use_id, name, given))
        self.log.append(f"gate {tool_use_id}")
        return self.denies not in json.dumps(given)


@dataclass
class User:
    """Decides about what it is asked, once `go` is set: denies what holds `denies`."""

    denies: str = "unwanted"
    log: list[str] = field(default_factory=list)
    asked: list[AskedTool] = field(default_factory=list)
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, tool: AskedTool) -> Verdict:
        self.asked.append(tool)
        self.log.append(f"ask {tool.tool_use_id}")
        await self.go.wait()
        allowed = self.denies not in json.dumps(tool.input)
        return Verdict(allowed, "" if allowed else "The user denied this tool: not here")


@dataclass
class Turn:
    """What one turn gave, taken apart."""

    items: list[RuntimeItem]

    @property
    def events(self) -> list[NewEvent]:
        return [item for item in self.items if isinstance(item, NewEvent)]

    @property
    def deltas(self) -> list[Delta]:
        return [item for item in self.items if isinstance(item, Delta)]

    @property
    def end(self) -> TurnEnd:
        assert isinstance(self.items[-1], TurnEnd)
        return self.items[-1]

    @property
    def types(self) -> list[str]:
        return [event.type.value for event in self.events]

    @property
    def text(self) -> str:
        return "\n".join(
            "".join(block.get("text", "") for block in event.data["content"])
            for event in self.events
            if event.type == "agent.message"
        )

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event.data for event in self.events if event.type == kind]


async def run_turn(
    runtime: AgentRuntime, prompt: str, turn_id: str | None = None, *, log: Any = None
) -> Turn:
    turn_id = turn_id or f"sevt_{uuid4().hex}"
    items: list[RuntimeItem] = []
    async with asyncio.timeout(60):
        async for item in runtime.turn(prompt, turn_id):
            items.append(item)
            if log is not None and isinstance(item, NewEvent):
                log.append(f"{item.type.value} {item.data.get('tool_use_id', '')}".strip())
    return Turn(items)


class DemoModel:
    """The demo model in a thread of its own, so that it outlives each test's event loop."""

    def __init__(self) -> None:
        self.url = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(20)

    def stop(self) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)

    def requests(self, containing: str) -> list[dict[str, Any]]:
        """What the CLI sent of turns whose prompt holds this text."""
        with urllib.request.urlopen(f"{self.url}/_demo/requests", timeout=5) as answer:  # noqa: S310
            seen = json.load(answer)
        return [request for request in seen if containing in request["last_user_text"]]

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with LoopbackServer(create_demo_model(token_seconds=0), grace_seconds=0) as server:
            self.url = server.url
            self._ready.set()
            await self._stop.wait()


@pytest.fixture(scope="session")
def demo() -> Iterator[DemoModel]:
    model = DemoModel()
    model.start()
    yield model
    model.stop()


class Runtimes:
    """Starts runtimes of one test; a later one resumes what an earlier one stored."""

    def __init__(self, demo: DemoModel, folder: Path, store: Store) -> None:
        env = {"ANTHROPIC_BASE_URL": demo.url, "ANTHROPIC_API_KEY": SECRET}
        self.model: ModelAccess = FixedModelAccess(env)
        self.config = RuntimeConfig(
            state_dir=folder / "state",
            permission_mode="bypassPermissions",
            model="claude-demo",
            model_retries=1,
        )
        self.workspace = folder / "work"
        self.workspace.mkdir()
        self.session = make_session(self.workspace)
        self.gate = Gate()
        self.store = store
        self.transcripts = store.transcripts
        self.api_keys = store.api_keys
        self.audit = store.audit
        self.ids = CountedIds()

    def factory(self, **changes: Any) -> CliRuntimeFactory:
        return CliRuntimeFactory(replace(self.config, **changes), self.transcripts, self.ids, self.model)

    @asynccontextmanager
    async def open(
        self,
        session: Session | None = None,
        *,
        gate: ToolGate | None = None,
        ask: ToolAsk | None = None,
        undo: str | None = None,
        **changes: Any,
    ) -> AsyncIterator[CliRuntime]:
        session = session or self.session
        await self.store.sessions.create(session)
        opening = self.factory(**changes).open(
            session, gate or self.gate, lease_of(session), ask=ask, undo=undo
        )
        async with opening as runtime:
            yield runtime

    @asynccontextmanager
    async def turn(self, prompt: str, **changes: Any) -> AsyncIterator[Turn]:
        async with self.open(**changes) as runtime:
            yield await run_turn(runtime, prompt)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short: the CLI puts sockets under it, whose paths have a limit."""
    path = Path(tempfile.mkdtemp(prefix="rt-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def runtimes(demo: DemoModel, folder: Path) -> Runtimes:
    return Runtimes(demo, folder, memory_store(SystemClock()))


@pytest.fixture(params=["fake", pytest.param("cli", marks=pytest.mark.tier("cli"))])
def subject(request: pytest.FixtureRequest, folder: Path):
    """One implementation of a runtime."""
    from tests.service.runtime.subject import cli_subject, fake_subject  # made of what is here

    make = fake_subject if request.param == "fake" else cli_subject
    return make(request, folder)
