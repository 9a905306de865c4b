"""With a key or an address of the user's own: that model is asked, and the key stays where it belongs."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp
from tests.service.e2e.client import Client
from tests.service.e2e.service_process import ServiceProcess, Services

from claude_agent_http.demo.playback import EventStream
from claude_agent_http.demo.reply import Reply, Text
from claude_agent_http.demo.wire import Envelope, error_json, frames
from claude_agent_http.system.loopback import LoopbackServer

pytestmark = pytest.mark.tier("cli", "linux")

SECRET = "sk-ant-test-SECRET-0123456789abcdef-0123456789abcdef"
LONG = "x" * 5_000_000


@dataclass
class OwnModel:
    """Says "own model", or 5 MB in one piece, or repeats the caller's key in an error."""

    keys: list[tuple[str | None, str | None]] = field(default_factory=list)
    url: str = ""

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/v1/messages", self.messages, methods=["POST"])])

    async def messages(self, request: Request) -> ASGIApp:
        self.keys.append((request.headers.get("x-api-key"), request.headers.get("authorization")))
        body = await request.body()
        if b"refuse me" in body.rpartition(b'"role":"user"')[2]:
            return JSONResponse(error_json(400, f"what is {SECRET}?"), 400)
        text = LONG if b"speak long" in body else "own model"
        return EventStream(frames(Reply((Text(text),)), Envelope("own1", "own", 10)))


@pytest.fixture
async def model() -> AsyncIterator[OwnModel]:
    model = OwnModel()
    async with LoopbackServer(model.app(), grace_seconds=0) as server:
        model.url = server.url
        yield model


async def test_five_megabytes_in_one_message_arrive_whole(services: Services, model: OwnModel) -> None:
    service = services.start(ANTHROPIC_BASE_URL=model.url, ANTHROPIC_AUTH_TOKEN=SECRET)
    async with Client(service.url) as client:
        session = await client.create()
        assert await client.say(session, "speak long") == LONG
        chunks = [chunk async for chunk in client.chunks(session, "speak long again")]
        assert "".join(chunk["text"] or "" for chunk in chunks) == LONG
        assert chunks[-1]["type"] == "done"
        texts = [
            event["content"][0]["text"] for event in await client.last_turn(session) if "content" in event
        ]
        assert texts == ["speak long again", LONG]
    assert set(model.keys) == {(None, f"Bearer {SECRET}")}


async def test_the_configured_model_is_asked_and_its_key_is_kept(services: Services, model: OwnModel) -> None:
    service = services.start(
        ANTHROPIC_BASE_URL=model.url, ANTHROPIC_API_KEY=SECRET, CLAUDE_AGENT_LOGGING_LEVEL="debug"
    )
    async with Client(service.url) as client:
        session = await client.create()
        assert await client.say(session, "hello") == "own model"
        assert_on_no_disk(service)
        refused = await client.chat(session, "refuse me")
        assert refused.status_code == 502
        assert "what is" in refused.json()["detail"]
        assert SECRET not in service.argv_of_all()
        await assert_told_nowhere(service, client, session, refused.text)
    assert {key for key, _ in model.keys} == {SECRET}
    service.stop()
    assert "DEMO" not in service.log
    assert SECRET not in service.log


async def assert_told_nowhere(service: ServiceProcess, client: Client, session: str, refused: str) -> None:
    assert SECRET not in refused
    for path in ("/", "/health", f"/api/v1/sessions/{session}", f"/api/v1/sessions/{session}/events"):
        answer = await client.http.get(path)
        assert SECRET not in answer.text
        if "model" in answer.json():
            assert answer.json()["model"]["mode"] == "configured"


def assert_on_no_disk(service: ServiceProcess) -> None:
    for file in service.folder.rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file
