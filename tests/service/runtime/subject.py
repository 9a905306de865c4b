"""A runtime under test, the fake or the real CLI, with the prompt for each thing that it shall do."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.service.runtime.conftest import (
    DemoModel,
    Gate,
    Runtimes,
    User,
    bash,
    lease_of,
    make_session,
    script,
)

from claude_agent_http.domain.turn import ErrorKind, TurnError
from claude_agent_http.ports import AgentRuntime, ToolAsk
from claude_agent_http.runtime import fake
from claude_agent_http.store import memory_store
from claude_agent_http.system import SystemClock
from claude_agent_http.system.ids import CountedIds

__all__ = ["Subject", "cli_subject", "fake_subject"]


@dataclass
class Subject:
    """One implementation: how to open it, and the prompt for each thing that it shall do."""

    open: Callable[..., AbstractAsyncContextManager[AgentRuntime]]
    open_broken: Callable[..., AbstractAsyncContextManager[AgentRuntime]]
    gate: Gate
    user: User
    ran: Path
    think_and_say: str
    use_tool: str
    use_forbidden_tool: str
    ask_for_tool: str
    ask_for_unwanted_tool: str
    ask_for_two_tools: str
    recall: str
    cut_once: str
    hang: str
    die: str
    fail: str


def cli_subject(request: pytest.FixtureRequest, folder: Path) -> Subject:
    demo: DemoModel = request.getfixturevalue("demo")
    runtimes = Runtimes(demo, folder, memory_store(SystemClock()))
    ran = folder / "work" / "ran"
    return Subject(
        open=lambda **options: runtimes.open(
            **{"permission_mode": "default", **options} if "ask" in options else options
        ),
        open_broken=lambda: runtimes.open(cli_path=Path("/nowhere/claude")),
        gate=runtimes.gate,
        user=User(log=runtimes.gate.log),
        ran=ran,
        think_and_say=script({"thinking": "let me see", "text": "one two  three"}),
        use_tool=script(bash(f"touch {ran}; echo out"), {"text": "finished"}),
        use_forbidden_tool=script(bash(f"touch {ran}; echo forbidden"), {"text": "finished"}),
        ask_for_tool=script(bash(f"touch {ran}; echo out"), {"text": "finished"}),
        ask_for_unwanted_tool=script(bash(f"touch {ran}; echo unwanted"), {"text": "finished"}),
        ask_for_two_tools=script(
            {"tools": [bash(f"touch {ran}"), bash(f"touch {ran}.unwanted")]}, {"text": "finished"}
        ),
        recall=script({"text": "{{history}}"}),
        cut_once=script({"cut": 3, "times": 1, "delay_ms": 30, "text": "one two three four"}),
        hang=script({"tokens": 400, "delay_ms": 100}),
        die=script(bash("kill -9 $PPID")),
        fail=script({"status": 529}),
    )


def fake_subject(_request: pytest.FixtureRequest, folder: Path) -> Subject:
    ran = folder / "ran"

    def run() -> str:
        ran.touch()
        return "out"

    plays: dict[str, list[fake.Step]] = {
        "think_and_say": [fake.Say("let me see", thinking=True), fake.Say("one two  three")],
        "use_tool": [fake.UseTool(run=run), fake.Say("finished")],
        "use_forbidden_tool": [
            fake.UseTool(input={"command": "forbidden"}, run=run),
            fake.Say("finished"),
        ],
        "ask_for_tool": [fake.UseTool(run=run, asks=True), fake.Say("finished")],
        "ask_for_unwanted_tool": [
            fake.UseTool(input={"command": "unwanted"}, run=run, asks=True),
            fake.Say("finished"),
        ],
        "ask_for_two_tools": [
            fake.UseTool(
                run=run,
                asks=True,
                beside=fake.UseTool(input={"command": "unwanted"}, run=run, asks=True),
            ),
            fake.Say("finished"),
        ],
        "recall": [fake.Recall()],
        "cut_once": [fake.Cut("one two"), fake.Say("one two three four")],
        "hang": [fake.Say("tok0 tok1"), fake.Hang()],
        "die": [fake.Die()],
        "fail": [fake.Fail(TurnError(ErrorKind.MODEL_OVERLOADED, "overloaded"))],
    }
    factory = fake.FakeRuntimeFactory(CountedIds(), plays.__getitem__)
    gate, session = Gate(), make_session(folder)

    def open_(
        undo: str | None = None, ask: ToolAsk | None = None
    ) -> AbstractAsyncContextManager[AgentRuntime]:
        return factory.open(session, gate, lease_of(session), ask=ask, undo=undo)

    def open_broken() -> AbstractAsyncContextManager[AgentRuntime]:
        factory.start_failures.append("no CLI")
        return open_()

    prompts = {name: name for name in plays}
    user = User(log=gate.log)
    return Subject(open=open_, open_broken=open_broken, gate=gate, user=user, ran=ran, **prompts)
