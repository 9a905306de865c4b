"""The demo model on loopback, and Messages requests in the shapes that the CLI sends."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from claude_agent_http.demo.app import create_demo_model
from claude_agent_http.system.loopback import LoopbackServer

Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def ask() -> Ask:
    """`ask("hi")`, `ask({"text": "a"}, {"text": "b"})` for a script; messages before and after by keyword."""

    def build(*parts: Any, before: tuple = (), after: tuple = (), **fields: Any) -> dict[str, Any]:
        scripted = not isinstance(parts[0], str)
        text = json.dumps({"script": list(parts)}) if scripted else parts[0]
        messages = [*before, {"role": "user", "content": text}, *after]
        tools = [{"name": name} for name in ("Bash", "Write", "Read")]
        return {"model": "claude-test", "max_tokens": 100, "messages": messages, "tools": tools, **fields}

    return build


@pytest.fixture
async def model() -> AsyncIterator[httpx.AsyncClient]:
    """A client of a fresh demo model."""
    async with (
        LoopbackServer(create_demo_model(token_seconds=0), grace_seconds=0) as server,
        httpx.AsyncClient(base_url=server.url, timeout=10) as client,
    ):
        yield client
