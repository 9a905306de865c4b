"""The log of the real service: one JSON object a line, with ids, and never a word of a message or a key."""

import asyncio
import json
from typing import Any

import pytest
from tests.service.e2e.client import Client, bash, script, tokens
from tests.service.e2e.service_process import ServiceProcess, Services

from claude_agent_http.demo.app import create_demo_model
from claude_agent_http.system.loopback import LoopbackServer

pytestmark = pytest.mark.tier("cli", "linux")

KEY = "sk-ant-test-KEY-0123456789abcdef-0123456789abcdef"
WORDS = ("apricot-prompt", "apricot-answer", "apricot-tool", "apricot-cut")


async def test_each_line_says_whom_it_is_about_and_no_line_repeats_what_was_said(services: Services) -> None:
    async with LoopbackServer(create_demo_model(token_seconds=0), grace_seconds=0) as model:
        service = await asyncio.to_thread(
            services.start,
            ANTHROPIC_BASE_URL=model.url,
            ANTHROPIC_API_KEY=KEY,
            CLAUDE_AGENT_LOGGING_FORMAT="json",
            CLAUDE_AGENT_LOGGING_LEVEL="debug",
        )
        async with Client(service.url) as client:
            session = await client.create("ann")
            await client.say(session, "remember apricot-prompt")
            answer = {"text": "apricot-answer"}
            assert await client.say(session, script(bash("echo apricot-tool; ls no-such"), answer))
            await cut(service, client, session)
            assert (await client.chat(session, script(tokens(3000, 20)), 1)).status_code == 504
            turns = {event["turn_id"] for event in await client.events(session)}
            assert (await client.http.delete(f"/api/v1/sessions/{session}")).status_code == 204
        await asyncio.to_thread(service.stop)
    lines = lines_of(service)
    for name in ("runtime started", "runtime stopped", "turn ended", "turn failed"):
        about = [line for line in lines if line["event"] == name]
        assert about, name
        assert {(line["session_id"], line["user_id"]) for line in about} == {(session, "ann")}, name
    ended = [line["turn_id"] for line in lines if line["event"] in {"turn ended", "turn failed"}]
    assert sorted(ended) == sorted(turns)
    assert len(ended) == 4
    woken = [line["turn_id"] for line in lines if line["event"] == "runtime started" and "turn_id" in line]
    assert woken
    assert set(woken) <= turns
    assert {line.get("user_id") for line in lines if "session_id" in line and line["event"] != "request"} == {
        "ann"
    }
    requests = [line for line in lines if line["event"] == "request" and line["path"].startswith("/api/")]
    assert {line["session_id"] for line in requests} == {session}
    chats = [line for line in requests if line["path"] == "/api/v1/chat"]
    assert {line["turn_id"] for line in chats} == turns
    assert {line["user_id"] for line in chats} == {"ann"}
    assert [word for word in (KEY, *WORDS) if word in service.log] == []


async def cut(service: ServiceProcess, client: Client, session: str) -> None:
    """A turn whose agent process is killed while it says something."""
    async with client.follow(session, deltas=True) as reader:
        said = script({"text": "apricot-cut " * 1000, "delay_ms": 20})
        answer = asyncio.create_task(client.chat(session, said))
        await reader.until(lambda me: len(me.deltas) > 5)
        service.cli("ann").kill()
        assert (await answer).status_code == 502


def lines_of(service: ServiceProcess) -> list[dict[str, Any]]:
    """The log itself; what a starting service says to people goes to the standard output."""
    text = (service.folder / "err.log").read_text()
    return [json.loads(line) for line in text.splitlines()]
