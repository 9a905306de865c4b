"""doctor asks each configured MCP server for its tools."""

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter
from tests.service.commands.program import run
from tests.service.commands.set_up import V, sound
from tests.service.runtime import mcp_echo

from claude_agent_http.commands.doctor.finding import Finding
from claude_agent_http.commands.doctor.mcp_servers import check_mcp_servers
from claude_agent_http.settings import McpServer
from claude_agent_http.system.loopback import LoopbackServer

ECHO = {"command": sys.executable, "args": [str(Path(mcp_echo.__file__))]}


def check(servers: Mapping[str, Any], seconds: float = 20) -> list[Finding]:
    return list(check_mcp_servers(TypeAdapter(dict[str, McpServer]).validate_python(servers), seconds))


def test_a_process_is_started_and_asked():
    (finding,) = check({"echo": ECHO})
    assert (finding.name, finding.level) == ("MCP server echo", "ok")
    assert finding.found == f"{sys.executable} has 1 tool"


@pytest.mark.parametrize("kind", ["http", "sse"])
async def test_a_remote_server_is_called_with_its_headers(kind: str):
    async with LoopbackServer(mcp_echo.app(kind), grace_seconds=0) as server:
        servers = {
            "echo": mcp_echo.configured(kind, server.url),
            "old": mcp_echo.configured(kind, server.url, {"Authorization": "Bearer hush"}),
        }
        echo, old = await asyncio.to_thread(check, servers)
    assert (echo.level, echo.found.endswith("has 1 tool")) == ("ok", True)
    assert old.level == "fail"
    assert "403" in old.found
    assert "type, url and headers of mcp_servers.old" in old.advice
    assert "hush" not in str(old)


@pytest.mark.parametrize(
    ("server", "found"),
    [
        ({"command": "no-such-mcp-server"}, "no-such-mcp-server: no such command on PATH"),
        (
            {"command": "sh", "args": ["-c", "echo no key $KEY >&2"], "env": {"KEY": "hush"}},
            "no key [redacted]",
        ),
        ({"command": "sleep", "args": ["60"]}, "sleep: did not answer within 1 s"),
        ({"command": "yes"}, "yes: did not answer within 1 s"),
        ({"type": "http", "url": "http://127.0.0.1:9/mcp"}, "http://127.0.0.1:9/mcp: "),
    ],
)
def test_one_that_gives_no_tools_fails_with_its_reason(server: Any, found: str):
    (finding,) = check({"it": server}, seconds=1)
    assert finding.level == "fail"
    assert found in finding.found
    assert "hush" not in finding.found
    assert "mcp_servers.it" in finding.advice


def test_it_is_one_line_of_doctor(tmp_path: Path, cli: Path):
    servers = json.dumps({"echo": ECHO, "gone": {"command": "no-such-mcp-server"}})
    ended = run("doctor", cwd=tmp_path, env=sound(tmp_path, cli) | {f"{V}MCP_SERVERS": servers})
    assert f"ok   MCP server echo: {sys.executable} has 1 tool" in ended.stdout
    assert (
        "fail MCP server gone: no-such-mcp-server: no such command on PATH\n      -> correct" in ended.stdout
    )
    assert ended.returncode == 1
