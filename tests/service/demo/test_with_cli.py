"""The real SDK and CLI against the demo model."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, ResultMessage

from claude_agent_http.demo.app import create_demo_model
from claude_agent_http.system.loopback import LoopbackServer


@asynccontextmanager
async def connected(url: str, folder: Path) -> AsyncIterator[ClaudeSDKClient]:
    home, workspace = folder / "home", folder / "workspace"
    home.mkdir()
    workspace.mkdir()
    env = {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": "none",
        "HOME": str(home),
        "CLAUDE_CONFIG_DIR": str(home / ".claude"),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_MAX_RETRIES": "2",
        "IS_SANDBOX": "1",
    }
    options = ClaudeAgentOptions(
        env=env, cwd=workspace, permission_mode="bypassPermissions", setting_sources=[]
    )
    async with ClaudeSDKClient(options) as client:
        yield client


async def said(client: ClaudeSDKClient, message: str) -> ResultMessage:
    await client.query(message)
    return [item async for item in client.receive_response() if isinstance(item, ResultMessage)][-1]


def script(*steps):
    return json.dumps({"script": steps})


async def test_scripts_and_commands_drive_the_real_cli(tmp_path):
    async with (
        LoopbackServer(create_demo_model(token_seconds=0), grace_seconds=0) as server,
        connected(server.url, tmp_path) as cli,
        httpx.AsyncClient(base_url=server.url) as http,
    ):
        echo = {"tool": "Bash", "input": {"command": "echo hi"}}
        assert (await said(cli, script(echo, {"text": "it said {{tool_result}}"}))).result == "it said hi"

        parallel = {"tools": [echo, {"tool": "Bash", "input": {"command": "echo ho"}}], "thinking": "both"}
        assert (await said(cli, script(parallel, {"text": "last {{tool_result}}"}))).result == "last ho"

        assert "5 characters" in (await said(cli, "write note.txt: hello")).result
        assert (tmp_path / "workspace" / "note.txt").read_text() == "hello"
        assert "hello" in (await said(cli, "read note.txt")).result
        assert "write note.txt: hello" in (await said(cli, "what did I say?")).result

        failed = await said(cli, script({"status": 400}))
        assert failed.is_error
        assert (await said(cli, script({"status": 529, "times": 1, "text": "retried"}))).result == "retried"
        assert (await said(cli, script({"cut": 2, "tokens": 5, "times": 1}))).result.endswith("tok4")

        seen = (await http.get("/_demo/requests")).json()
        assert {one["auth"] for one in seen} == {"x-api-key"}
        assert "Bash" in seen[0]["tools"]
