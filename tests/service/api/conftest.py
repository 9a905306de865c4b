"""The service in process, and clients that call it there or over a real socket."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.service.api.rig import Service, serving

from claude_agent_http.system.loopback import LoopbackServer


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with serving(tmp_path / "users") as made:
        yield made


@pytest.fixture
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """In process. What the service answers is checked for what every answer must have."""
    transport = httpx.ASGITransport(service.api)
    async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=10) as client:
        client.event_hooks["response"] = [_checked]
        yield client


@pytest.fixture
async def wire(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """Over a real socket: for streams and for clients that go away."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(LoopbackServer(service.api))
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=server.url, timeout=10))
        stack.push_async_callback(service.engine.stop, 0)
        yield client


async def _checked(response: httpx.Response) -> None:
    assert response.headers["x-request-id"]


@pytest.fixture
def create() -> Callable[..., Any]:
    """`await create(client, user_id="bob")`: the id of a new session."""

    async def made(client: httpx.AsyncClient, **fields: Any) -> str:
        answer = await client.post("/api/v1/sessions", json={"user_id": "alice", **fields})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["session_id"])

    return made


@pytest.fixture
async def session_id(client: httpx.AsyncClient, create: Callable[..., Any]) -> str:
    return str(await create(client))


@pytest.fixture
def body(session_id: str) -> Callable[..., dict[str, Any]]:
    """`body("hi", timeout=1)`: what the chat routes take."""

    def made(message: str = "hi", **fields: Any) -> dict[str, Any]:
        return {"session_id": session_id, "message": message, **fields}

    return made
