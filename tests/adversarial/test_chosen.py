"""A request chooses nothing of how an agent runs; the same, given to the SDK itself, changes what it does."""

import json
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from claude_agent_sdk import ClaudeAgentOptions, ResultMessage, query
from tests.service.e2e.client import Client, bash, script
from tests.service.e2e.service_process import ServiceProcess, Services

from claude_agent_http.demo.app import create_demo_model
from claude_agent_http.runtime.startfiles import bundled_cli
from claude_agent_http.system.loopback import LoopbackServer

pytestmark = [
    pytest.mark.tier("cli"),
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="module"),
]

_EVIL = "evil"
_PLANTED = "planted"
_HOOKS = {"UserPromptSubmit": [{"hooks": [{"type": "command", "command": f"touch {_PLANTED}"}]}]}
_SETTINGS = json.dumps({"hooks": _HOOKS})
_LOOK = f"echo marked:${{CHOSEN_{_EVIL}}}; pwd"
_EVIL_CLI = f'#!/bin/sh\ntouch {_PLANTED}\nexec {bundled_cli()} "$@"\n'


@dataclass(frozen=True, slots=True)
class Chosen:
    """A field of a request; `sdk` is how the SDK wants to be told the same."""

    name: str
    value: Any
    sdk: dict[str, Any] = field(default_factory=dict)

    @property
    def options(self) -> dict[str, Any]:
        return self.sdk or {self.name: self.value}


_CHOSEN = (
    Chosen("cli_path", "@evil_cli@"),
    Chosen("settings", _SETTINGS),
    Chosen("hooks", _HOOKS, {"settings": _SETTINGS}),
    Chosen("setting_sources", ["project"]),
    Chosen("extra_args", {"settings": _SETTINGS}),
    Chosen("env", {f"CHOSEN_{_EVIL}": "yes"}),
    Chosen("cwd", "@elsewhere@"),
    Chosen("permission_mode", "dontAsk"),
    Chosen("disallowed_tools", ["Bash"]),
    Chosen("model", _EVIL),
    Chosen("system_prompt", _EVIL),
    Chosen("mcp_servers", {_EVIL: {"command": "touch", "args": [_PLANTED]}}),
)


@dataclass(frozen=True, slots=True)
class Run:
    """What an agent did and was: whatever an attack would change shows here."""

    planted: bool
    said: str
    """By its shell, with WORKSPACE in place of the folder that it should be in."""
    models: frozenset[str]
    is_told: bool
    """Whether the evil words are in the system's prompt."""


class Field:
    """A service without a jail, which would stop some of this; the bare SDK beside it; and their model."""

    def __init__(self, folder: Path, service: ServiceProcess, client: Client, model: str) -> None:
        self._folder = folder
        self._service = service
        self._client = client
        self._model = model
        self._runs = 0

    async def served(self, given: dict[str, Any]) -> Run:
        """With `given` wherever a client may write it."""
        mark, workspace = self._prepared(self._service.users)
        given = self._filled(given)
        everywhere = {**given, "options": given, "metadata": given}
        session = await self._client.create(mark, **everywhere)
        body = {**everywhere, "session_id": session, "message": f"{mark} {script(bash(_LOOK))}"}
        answer = await self._client.http.post("/api/v1/chat", json=body)
        assert answer.status_code == 200, answer.text
        results = [one for one in await self._client.events(session) if one["type"] == "agent.tool_result"]
        return await self._seen(mark, workspace, results[0]["content"])

    async def bare(self, given: dict[str, Any]) -> Run:
        mark, workspace = self._prepared(self._folder)
        home = self._folder / f"home-{mark}"
        home.mkdir()
        filled = self._filled(given)
        own = {
            "HOME": str(home),
            "ANTHROPIC_BASE_URL": self._model,
            "ANTHROPIC_API_KEY": "demo",
            "IS_SANDBOX": "1",  # else the CLI would not do as it is told where the tests run as root
        }
        served: dict[str, Any] = {
            "cwd": str(workspace),
            "cli_path": bundled_cli(),
            "permission_mode": "bypassPermissions",
            "setting_sources": [],
        }
        options = ClaudeAgentOptions(**{**served, **filled, "env": {**own, **filled.get("env", {})}})
        said: list[Any] = []
        async for message in query(prompt=f"{mark} {script(bash(_LOOK))}", options=options):
            assert not isinstance(message, ResultMessage) or not message.is_error, message
            said += [one.content for one in _blocks(message) if hasattr(one, "tool_use_id")]
        return await self._seen(mark, workspace, said[0])

    def _prepared(self, users: Path) -> tuple[str, Path]:
        """A name of its own, and a workspace with hooks of the user's own, which are not to be read."""
        self._runs += 1
        mark = f"run{self._runs}-"
        workspace = users / mark
        (workspace / ".claude").mkdir(parents=True)
        (workspace / ".claude" / "settings.json").write_text(_SETTINGS)
        return mark, workspace

    def _filled(self, given: dict[str, Any]) -> dict[str, Any]:
        cli, elsewhere = self._folder / "evil-cli", self._folder / "elsewhere"
        text = json.dumps(given).replace("@evil_cli@", str(cli)).replace("@elsewhere@", str(elsewhere))
        filled: dict[str, Any] = json.loads(text)
        return filled

    async def _seen(self, mark: str, workspace: Path, content: Any) -> Run:
        said = content if isinstance(content, str) else "\n".join(one.get("text", "") for one in content)
        async with httpx.AsyncClient(trust_env=False) as http:
            asked = (await http.get(f"{self._model}/_demo/requests")).json()
        own = [one for one in asked if mark in one["last_user_text"] and one["tools"]]
        assert own, "the model was not asked"
        return Run(
            (workspace / _PLANTED).exists(),
            said.replace(str(workspace), "WORKSPACE"),
            frozenset(one["model"] for one in own),
            any(_EVIL in one["system"].replace(mark, "").splitlines() for one in own),
        )


def _blocks(message: Any) -> list[Any]:
    content = getattr(message, "content", None)
    return [one for one in content if hasattr(one, "content")] if isinstance(content, list) else []


@asynccontextmanager
async def _open_field() -> AsyncIterator[Field]:
    services, folder = Services(), Path(tempfile.mkdtemp(prefix="chosen-"))
    (folder / "elsewhere").mkdir()
    (folder / "evil-cli").write_text(_EVIL_CLI)
    (folder / "evil-cli").chmod(0o755)
    try:
        async with LoopbackServer(create_demo_model(token_seconds=0), grace_seconds=0) as model:
            env = {"ANTHROPIC_BASE_URL": model.url, "ANTHROPIC_API_KEY": "demo"}
            service = services.start(None, CLAUDE_AGENT_ISOLATION_MODE="off", **env)
            async with Client(service.url) as client:
                yield Field(folder, service, client, model.url)
    finally:
        services.end()
        shutil.rmtree(folder, ignore_errors=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place() -> AsyncIterator[Field]:
    async with _open_field() as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served_alone(place: Field) -> Run:
    return await place.served({})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bare_alone(place: Field) -> Run:
    return await place.bare({})


async def test_an_agent_that_nobody_meddled_with(served_alone: Run, bare_alone: Run) -> None:
    assert served_alone.said == bare_alone.said == "marked:\nWORKSPACE"
    assert not served_alone.planted
    assert not bare_alone.planted


@pytest.mark.parametrize("chosen", _CHOSEN, ids=lambda chosen: chosen.name)
async def test_a_request_chooses_nothing_of_how_an_agent_runs(
    place: Field, served_alone: Run, bare_alone: Run, chosen: Chosen
) -> None:
    assert await place.bare(chosen.options) != bare_alone, "nothing would show if it were taken"
    assert await place.served({chosen.name: chosen.value}) == served_alone
