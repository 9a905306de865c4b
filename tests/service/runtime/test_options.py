"""Each option by what the real CLI then does."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.service.runtime.conftest import (
    REPORT,
    SECRET,
    DemoModel,
    Runtimes,
    Turn,
    bash,
    make_session,
    run_turn,
    script,
)
from tests.service.runtime.test_faults import running
from tests.service.runtime.test_mcp import MCP_ECHO

from claude_agent_http.domain.turn import ErrorKind, StopReason
from claude_agent_http.runtime.folders import make_folders

pytestmark = pytest.mark.tier("cli")

WRITE = {"tool": "Write", "input": {"file_path": "note.txt", "content": "hello"}}


async def one_turn(runtimes: Runtimes, *steps: dict[str, Any], **changes: Any) -> Turn:
    async with runtimes.turn(script(*steps), **changes) as turn:
        return turn


async def test_model_and_system_prompt_reach_the_model(runtimes: Runtimes, demo: DemoModel) -> None:
    await one_turn(
        runtimes, {"text": "prompted"}, model="claude-chosen", system_prompt="You are a café in Zürich."
    )
    request = demo.requests("prompted")[-1]
    assert request["model"] == "claude-chosen"
    assert "You are a café in Zürich." in request["system"]
    assert request["auth"] == "x-api-key"


@pytest.mark.parametrize("mode", ["default", "plan", "dontAsk"])
async def test_a_careful_permission_mode_denies_writing(runtimes: Runtimes, mode: str) -> None:
    turn = await one_turn(runtimes, WRITE, {"text": "finished"}, permission_mode=mode)
    assert not (runtimes.workspace / "note.txt").exists()
    assert turn.of("agent.tool_result")[0]["is_error"] is True
    assert turn.text == "finished"


async def test_accept_edits_lets_write_but_not_run(runtimes: Runtimes) -> None:
    steps = [WRITE, bash('python3 -c \'open("ran", "w")\''), {"text": "finished"}]
    await one_turn(runtimes, *steps, permission_mode="acceptEdits")
    assert (runtimes.workspace / "note.txt").read_text() == "hello"
    assert not (runtimes.workspace / "ran").exists()


async def test_an_allowed_tool_needs_no_permission(runtimes: Runtimes) -> None:
    steps = [bash('python3 -c \'open("ran", "w")\''), {"text": "finished"}]
    await one_turn(runtimes, *steps, permission_mode="default", allowed_tools=["Bash(python3:*)"])
    assert (runtimes.workspace / "ran").exists()


async def test_a_disallowed_tool_is_not_offered_and_does_not_run(runtimes: Runtimes, demo: DemoModel) -> None:
    turn = await one_turn(runtimes, bash("touch ran"), {"text": "no bash"}, disallowed_tools=["Bash"])
    tools = demo.requests("no bash")[-1]["tools"]
    assert "Bash" not in tools
    assert "Read" in tools
    assert turn.of("agent.tool_result")[0]["is_error"] is True
    assert not (runtimes.workspace / "ran").exists()


async def test_max_turns_ends_the_turn_with_an_error(runtimes: Runtimes) -> None:
    async with runtimes.open(max_turns=1) as runtime:
        turn = await run_turn(runtime, script(bash("echo one"), bash("echo two"), {"text": "never"}))
        following = await run_turn(runtime, script({"text": "again"}))
    assert turn.end.error is not None
    assert turn.end.error.kind is ErrorKind.MAX_TURNS
    assert len(turn.of("agent.tool_use")) == 1
    assert following.text == "again"


async def test_a_spent_budget_ends_the_turn(runtimes: Runtimes) -> None:
    step = bash("echo on", usage={"input_tokens": 5_000_000, "output_tokens": 1})
    turn = await one_turn(runtimes, step, {"text": "never"}, max_budget_usd=0.01, model="claude-opus-5-5")
    assert turn.end.stop_reason is StopReason.BUDGET_REACHED
    assert turn.text == ""


async def test_project_settings_are_read_only_when_asked_for(runtimes: Runtimes) -> None:
    (runtimes.workspace / "CLAUDE.md").write_text("Always answer in verse. " * 4000)
    settings = runtimes.workspace / ".claude" / "settings.json"
    settings.parent.mkdir()
    settings.write_text(json.dumps({"env": {"FROM_PROJECT": "yes"}}))
    steps = [bash('echo "project: $FROM_PROJECT"'), REPORT]
    without = await one_turn(runtimes, *steps)
    runtimes.session = make_session(runtimes.workspace)
    asked = await one_turn(runtimes, *steps, setting_sources=["project"])
    assert (without.text, asked.text) == ("project:", "project: yes")
    assert without.end.usage is not None
    assert asked.end.usage is not None
    assert asked.end.usage.input_tokens - without.end.usage.input_tokens > 40_000


@pytest.mark.parametrize("source", ["user", "local"])
async def test_user_and_local_settings_are_read_only_when_asked_for(runtimes: Runtimes, source: str) -> None:
    folders = make_folders(runtimes.config.state_dir, runtimes.session.id)
    local = runtimes.workspace / ".claude" / "settings.local.json"
    settings = {"user": folders.config / "settings.json", "local": local}[source]
    settings.parent.mkdir(exist_ok=True)
    settings.write_text(json.dumps({"env": {"FROM_SETTINGS": "yes"}}))
    steps = [bash('echo "settings: $FROM_SETTINGS"'), REPORT]
    without = await one_turn(runtimes, *steps)
    asked = await one_turn(runtimes, *steps, setting_sources=[source])
    assert (without.text, asked.text) == ("settings:", "settings: yes")


async def test_a_plugin_brings_its_agent(runtimes: Runtimes, folder: Path, demo: DemoModel) -> None:
    plugin = folder / "plugin"
    (plugin / ".claude-plugin").mkdir(parents=True)
    (plugin / ".claude-plugin" / "plugin.json").write_text(json.dumps({"name": "garden"}))
    (plugin / "agents").mkdir()
    (plugin / "agents" / "gnome.md").write_text(
        "---\nname: gnome\ndescription: Guards the garden\n---\nYou are the garden gnome.\n"
    )
    inner = script(bash("echo gnome-was-here"), {"text": "watered"})
    task = {"description": "water", "prompt": inner, "subagent_type": "garden:gnome"}
    turn = await one_turn(
        runtimes,
        {"tool": "Task", "input": task},
        {"text": "ok"},
        plugins=[{"type": "local", "path": str(plugin)}],
    )
    assert any(
        "You are the garden gnome." in request["system"] for request in demo.requests("gnome-was-here")
    )
    outer = turn.of("agent.tool_use")[0]["tool_use_id"]
    inner_use = turn.of("agent.tool_use")[1]
    assert (inner_use["name"], inner_use["parent_tool_use_id"]) == ("Bash", outer)
    assert [name for _, name, _ in runtimes.gate.asked][-1] == "Bash"


async def test_a_subagents_tools_pass_the_gate_too(runtimes: Runtimes) -> None:
    prompt = script(bash("touch ran"), {"text": "done"})
    task = {"description": "d", "prompt": prompt, "subagent_type": "general-purpose"}
    log: list[str] = []

    async def no_bash(use: str, name: str, _given: dict[str, Any]) -> bool:
        log.append(f"gate {use}")
        return name != "Bash"

    async with runtimes.open(gate=no_bash) as runtime:
        turn = await run_turn(runtime, script({"tool": "Task", "input": task}, {"text": "ok"}), log=log)
    assert turn.text.endswith("ok")
    assert not (runtimes.workspace / "ran").exists()
    inner = turn.of("agent.tool_use")[1]["tool_use_id"]
    assert [line for line in log if inner in line] == [
        f"agent.tool_use {inner}",
        f"gate {inner}",
        f"agent.tool_result {inner}",
    ]


@pytest.mark.parametrize("text", ["/clear", " /help me", "look at @secret.txt please", "!ls", "# note"])
async def test_a_prompt_is_text_and_nothing_else(runtimes: Runtimes, demo: DemoModel, text: str) -> None:
    (runtimes.workspace / "secret.txt").write_text("large " * 20_000)
    async with runtimes.turn(text) as turn:
        assert f"You said: “{text.strip()}”" in turn.text
        assert turn.end.usage is not None
        assert turn.end.usage.input_tokens < 25_000


@pytest.mark.tier("cli", "linux")
async def test_no_secret_and_no_prompt_stands_on_a_command_line(
    runtimes: Runtimes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVICE_MARKER", "must-not-leak")
    server = {"command": sys.executable, "args": [MCP_ECHO], "env": {"ECHO_SECRET": "s3cr3t-mcp"}}
    secret = {"system_prompt": "s3cr3t-system", "mcp_servers": {"echo": server}}
    lines: list[str] = []

    async def look(_use: str, _name: str, _given: dict[str, Any]) -> bool:
        lines.extend(running(""))
        return True

    async with runtimes.open(gate=look, ask=None, undo=None, session=None, **secret) as runtime:
        turn = await run_turn(runtime, script({"text": "s3cr3t-prompt", **bash("env")}, REPORT))
        pid = runtime.pid
        assert pid is not None
        launcher_env = _environment_of(pid)
    assert any("--mcp-config" in line for line in lines)
    assert not [line for line in lines if "s3cr3t" in line or SECRET in line]
    assert "must-not-leak" not in turn.text + launcher_env
    assert SECRET not in launcher_env
    names = {
        line.partition("=")[0] for line in turn.of("agent.tool_result")[0]["content"][0]["text"].splitlines()
    }
    assert "HOME" in names
    assert not {name for name in names if name.startswith(("PYTEST", "VIRTUAL_ENV", "PYTHON"))}


def _environment_of(pid: int) -> str:
    return Path(f"/proc/{pid}/environ").read_text()
