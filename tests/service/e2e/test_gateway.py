"""What an agent learns of the model's credential: only a token that opens the gateway while it lives."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from tests.service.e2e.client import Client, bash, script
from tests.service.e2e.service_process import Services

from claude_agent_http.demo.app import create_demo_model
from claude_agent_http.system.loopback import LoopbackServer

pytestmark = pytest.mark.tier("cli", "linux")

SECRET = "sk-ant-test-SECRET-0123456789abcdef-0123456789abcdef"
REPORT = {"text": "{{tool_result}}"}
# Of itself, of the CLI above it and of the launcher above that.
EVERY_ENVIRONMENT = (
    "env; cat /proc/$PPID/environ /proc/$(cut -d' ' -f4 /proc/$PPID/stat)/environ | tr '\\0' '\\n'"
)


@pytest.fixture
async def model() -> AsyncIterator[str]:
    async with LoopbackServer(create_demo_model(token_seconds=0), grace_seconds=0) as server:
        yield server.url


async def kinds_seen(model: str) -> list[str]:
    """In which header the credential of each request came."""
    async with httpx.AsyncClient() as client:
        return [request["auth"] for request in (await client.get(f"{model}/_demo/requests")).json()]


async def test_an_agents_environment_holds_a_token_and_no_key(services: Services, model: str) -> None:
    service = services.start(ANTHROPIC_BASE_URL=model, ANTHROPIC_API_KEY=SECRET)
    async with Client(service.url) as client:
        session = await client.create("ann")
        printed = await client.say(session, script(bash(EVERY_ENVIRONMENT), REPORT))
        environment = service.cli("ann").environ()
        stranger = await client.create("bob")
        await client.say(stranger, "hello")
        token = environment["ANTHROPIC_API_KEY"]
        assert token != service.cli("bob").environ()["ANTHROPIC_API_KEY"]
        async with httpx.AsyncClient(base_url=environment["ANTHROPIC_BASE_URL"]) as gateway:
            asked: dict[str, Any] = {"headers": {"x-api-key": token}, "json": {"model": "m", "messages": []}}
            assert (await gateway.post("/v1/messages", **asked)).status_code == 400  # the model's own word
            await client.http.delete(f"/api/v1/sessions/{session}")
            assert (await gateway.post("/v1/messages", **asked)).status_code == 401
    assert SECRET not in printed
    assert "ANTHROPIC_API_KEY=gw-" in printed
    assert f"ANTHROPIC_BASE_URL={environment['ANTHROPIC_BASE_URL']}" in printed
    assert model not in printed
    assert set(await kinds_seen(model)) == {"x-api-key"}


async def test_a_bound_secret_is_used_and_a_new_one_without_a_restart(
    services: Services, model: str, tmp_path: Path
) -> None:
    (tmp_path / "base-url").write_text(model)
    (tmp_path / "api-key").write_text(SECRET)
    service = services.start(CLAUDE_AGENT_MODEL_BINDING_DIR=str(tmp_path))
    async with Client(service.url) as client:
        session = await client.create("ann")
        assert await client.say(session, script({"text": "by key"})) == "by key"
        agent = psutil.Process(service.cli("ann").pid)
        (tmp_path / "auth-token").write_text(f"{SECRET}-new")
        (tmp_path / "api-key").unlink()
        assert await client.say(session, script({"text": "by token"})) == "by token"
        assert agent.is_running()
        health = (await client.http.get("/health")).json()
    kinds = await kinds_seen(model)
    assert (kinds[0], kinds[-1]) == ("x-api-key", "bearer")
    assert health["model"]["mode"] == "configured"
    assert SECRET not in service.log


async def test_a_model_that_is_away_is_told_in_the_answer_and_in_the_log(services: Services) -> None:
    service = services.start(ANTHROPIC_BASE_URL="http://127.0.0.1:9", ANTHROPIC_API_KEY=SECRET)
    async with Client(service.url) as client:
        answer = await client.chat(await client.create("ann"), "hello")
    assert answer.status_code == 502
    assert "the model API at 127.0.0.1:9 refuses connections" in answer.json()["detail"]
    assert '"reason": "refused"' in service.log
