"""SIGTERM: what was accepted gets its answer or a clear end, and no process stays behind."""

import asyncio
import json
import signal
import time
from pathlib import Path

import httpx
import pytest
from tests.service.e2e.client import Client, bash, said, script, tokens
from tests.service.e2e.service_process import ServiceProcess, Services

pytestmark = pytest.mark.tier("cli", "linux")

SECRET = "Bearer s3cr3t-mcp-token"
MCP_SERVER = {"type": "http", "url": "http://127.0.0.1:9/mcp", "headers": {"Authorization": SECRET}}


async def test_an_idle_service_ends_within_three_seconds(services: Services) -> None:
    service = services.start()
    async with Client(service.url) as client:
        await client.say(await client.create(), "hello")
        assert service.inhabitants()
        began = time.monotonic()
        service.stop()
    assert time.monotonic() - began < 3


async def test_a_terminal_that_is_closed_drains_too(services: Services) -> None:
    service = services.start()
    async with Client(service.url) as client:
        session = await client.create()
        chat = asyncio.create_task(client.say(session, script(tokens(50, 20))))
        async with client.follow(session, deltas=True) as reader:
            await reader.until(lambda me: bool(me.deltas))
            service.kill(signal.SIGHUP)
            assert await chat == said(50)
    assert await asyncio.to_thread(service.wait) == 0
    service.assert_nothing_left()


async def test_an_agent_that_stops_its_launcher_leaves_neither_process_nor_secret(services: Services) -> None:
    service = services.start(CLAUDE_AGENT_MCP_SERVERS=json.dumps({"m": MCP_SERVER}))
    async with Client(service.url) as client:
        session = await client.create("ann")
        await client.say(
            session, script(bash("setsid sleep 300 >/dev/null 2>&1 & echo"), {"text": "started"})
        )
        assert files_that_hold(service.folder, SECRET)
        service.launcher("ann").send_signal(signal.SIGSTOP)
        service.stop()
    service.assert_nothing_left()
    assert files_that_hold(service.folder, SECRET) == []


async def test_a_turn_that_ends_in_time_is_answered_whole(services: Services) -> None:
    service = services.start(CLAUDE_AGENT_DRAIN_SECONDS="20")
    async with Client(service.url) as client:
        streamed, waited = await client.create(), await client.create()
        answer = script(tokens(100, 20))
        stream = asyncio.create_task(collect(client, streamed, answer))
        chat = asyncio.create_task(client.say(waited, answer))
        async with client.follow(streamed, deltas=True) as one, client.follow(waited, deltas=True) as two:
            await one.until(lambda me: bool(me.deltas))
            await two.until(lambda me: bool(me.deltas))
            service.kill(signal.SIGTERM)
            await until_refused(service)
            assert not stream.done()
            assert not chat.done()
            assert await chat == said(100)
            chunks = await stream
            assert await one.until_ended() == await two.until_ended() == "closed"
            assert one.events[-1]["stop_reason"] == two.events[-1]["stop_reason"] == {"type": "end_turn"}
    assert "".join(chunk["text"] for chunk in chunks[:-1]) == said(100)
    assert chunks[-1]["type"] == "done"
    assert await asyncio.to_thread(service.wait) == 0
    service.assert_nothing_left()


async def test_a_turn_that_takes_longer_is_interrupted(services: Services) -> None:
    service = services.start(CLAUDE_AGENT_DRAIN_SECONDS="1")
    async with Client(service.url) as client:
        talking, working = await client.create(), await client.create()
        stream = asyncio.create_task(collect(client, talking, script(tokens(3000, 20))))
        chat = asyncio.create_task(client.chat(working, script(bash("setsid sleep 300 & sleep 300"))))
        async with client.follow(talking, deltas=True) as one, client.follow(working) as two:
            await one.until(lambda me: bool(me.deltas))
            await two.until_type("agent.tool_started")
            began = time.monotonic()
            service.kill(signal.SIGTERM)
            chunks, answer = await asyncio.gather(stream, chat)
            assert await one.until_ended() == await two.until_ended() == "closed"
    assert await asyncio.to_thread(service.wait) == 0
    assert time.monotonic() - began < 10
    service.assert_nothing_left(1)
    assert chunks[-1]["type"] == "error"
    assert "shutting down" in chunks[-1]["error"]
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")

    service.start()
    async with Client(service.url) as client:
        for session, reader in ((talking, one), (working, two)):
            log = await client.events(session)
            assert log == reader.events
            assert [event["reason"] for event in log if event["type"] == "user.interrupt"] == ["shutdown"]
            assert log[-1]["stop_reason"] == {"type": "end_turn", "interrupted": "shutdown"}
        assert await client.say(talking, script({"text": "on again"})) == "on again"


async def collect(client: Client, session: str, message: str) -> list[dict]:
    return [chunk async for chunk in client.chunks(session, message)]


async def until_refused(service: ServiceProcess) -> None:
    async with asyncio.timeout(5), httpx.AsyncClient(trust_env=False) as probe:
        while True:
            try:
                answer = await probe.get(f"{service.url}/readyz", headers={"Connection": "close"})
            except httpx.ConnectError:
                return
            except httpx.TransportError:  # accepted just before
                continue
            assert answer.status_code in {200, 503}


def files_that_hold(folder: Path, text: str) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]
