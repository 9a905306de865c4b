"""MCP servers: what of the configuration reaches them, and what is told of those that do not come."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.service.runtime import mcp_echo
from tests.service.runtime.conftest import REPORT, Runtimes, bash, run_turn, script

from claude_agent_http.system.loopback import LoopbackServer

pytestmark = pytest.mark.tier("cli")

MCP_ECHO = str(Path(mcp_echo.__file__))
SAY = {"tool": "mcp__echo__say", "input": {"text": "hello"}}


def missing(logged: list[Any]) -> list[tuple[str, str]]:
    """(server, status) of each warning."""
    return [(entry["mcp_server"], entry["status"]) for entry in logged if "mcp_server" in entry]


async def test_a_process_serves_its_tools(runtimes: Runtimes) -> None:
    server = {"type": "stdio", "command": sys.executable, "args": [MCP_ECHO]}
    servers = {"echo": server | {"env": {"ECHO_SECRET": "s3cr3t"}}}
    with capture_logs() as logged:
        async with runtimes.turn(script(SAY, REPORT), mcp_servers=servers) as turn:
            call, result = turn.of("agent.mcp_tool_use")[0], turn.of("agent.mcp_tool_result")[0]
    assert (call["mcp_server_name"], call["name"], call["input"]) == ("echo", "say", {"text": "hello"})
    assert result["tool_use_id"] == call["tool_use_id"]
    assert "hello s3cr3t" in turn.text
    assert runtimes.gate.asked[0][1] == "mcp__echo__say"
    assert missing(logged) == []
    state = [path for path in runtimes.config.state_dir.rglob("*") if path.is_file()]
    assert state
    assert not [path for path in state if b"s3cr3t" in path.read_bytes() and path.suffix != ".jsonl"]
    assert not list(runtimes.config.state_dir.rglob("mcp.json"))


@pytest.mark.parametrize("kind", ["http", "sse"])
async def test_a_server_that_is_reached_by_http_gets_its_headers(runtimes: Runtimes, kind: str) -> None:
    async with LoopbackServer(mcp_echo.app(kind), grace_seconds=0) as server:
        servers = {"echo": mcp_echo.configured(kind, server.url)}
        async with runtimes.turn(script(SAY, REPORT), mcp_servers=servers) as turn:
            assert turn.of("agent.mcp_tool_use")[0]["mcp_server_name"] == "echo"
            assert "hello" in turn.text


@pytest.mark.parametrize("kind", ["http", "sse"])
async def test_one_that_refuses_the_headers_is_told_in_the_log(runtimes: Runtimes, kind: str) -> None:
    async with LoopbackServer(mcp_echo.app(kind), grace_seconds=0) as server:
        servers = {"echo": mcp_echo.configured(kind, server.url, {"Authorization": "Bearer old"})}
        with capture_logs() as logged:
            async with runtimes.turn(script({"text": "works on"}), mcp_servers=servers) as turn:
                assert turn.text == "works on"
    assert [name for name, _ in missing(logged)] == ["echo"]
    assert "Bearer" not in str(logged)


async def test_those_that_do_not_start_are_told_once(runtimes: Runtimes) -> None:
    servers = {
        "absent": {"type": "stdio", "command": "/no/such/server", "args": ["--token=s3cr3t"]},
        "ends": {"type": "stdio", "command": "false"},
        "there": {"type": "stdio", "command": sys.executable, "args": [MCP_ECHO]},
    }
    with capture_logs() as logged:
        async with runtimes.open(mcp_servers=servers) as runtime:
            turns = [await run_turn(runtime, script({"text": "works on"})) for _ in range(2)]
    assert [turn.text for turn in turns] == ["works on"] * 2
    assert sorted(missing(logged)) == [("absent", "failed"), ("ends", "failed")]
    told = next(entry for entry in logged if "mcp_server" in entry)
    assert (told["session_id"], told["user_id"]) == (runtimes.session.id, "alice")
    assert "s3cr3t" not in str(logged)


async def test_servers_of_the_workspace_are_not_started(runtimes: Runtimes) -> None:
    server = {"command": "touch", "args": [str(runtimes.workspace / "started")]}
    (runtimes.workspace / ".mcp.json").write_text(json.dumps({"mcpServers": {"evil": server}}))
    prompt = script(bash("sleep 0.3"), {"text": "x"})
    async with runtimes.turn(prompt, setting_sources=["project"]):
        assert not (runtimes.workspace / "started").exists()


async def test_auto_mode_runs_no_tool_that_nobody_judged(runtimes: Runtimes) -> None:
    server = {"type": "stdio", "command": sys.executable, "args": [MCP_ECHO]}
    prompt = script(SAY, REPORT)
    async with runtimes.turn(prompt, mcp_servers={"echo": server}, permission_mode="auto") as turn:
        assert turn.of("agent.mcp_tool_result")[0]["is_error"] is True
        assert "Auto mode" in turn.text
