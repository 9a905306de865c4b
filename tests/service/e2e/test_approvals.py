"""Real agents that ask before they run a tool: on one replica, across two, and when one dies meanwhile."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.service.e2e.client import Client, bash, script
from tests.service.e2e.conftest import Storage
from tests.service.e2e.service_process import ServiceProcess, Services
from tests.waiting import until

pytestmark = [
    pytest.mark.tier("cli", "linux"),
    pytest.mark.timeout(300),
    pytest.mark.parametrize(
        "storage", [pytest.param("postgresql", marks=pytest.mark.tier("postgres"))], indirect=True
    ),
]

READS = [{"tool": "Read", "input": {"file_path": path}} for path in ("/etc/hostname", "/etc/passwd")]
# What only reads runs at once, so both are asked for at once; the others come one after the other.
TOOLS = script(
    {"tools": READS}, {"tools": [bash("touch allowed"), bash("touch denied"), bash("ls")]}, {"text": "done"}
)


class Pair:
    def __init__(self, services: Services, storage: Storage) -> None:
        self._env = {
            **storage.env,
            "CLAUDE_AGENT_REPLICAS": "2",
            "CLAUDE_AGENT_USER_BASE_DIR": str(services.folder()),
            "CLAUDE_AGENT_SESSION_LEASE_SECONDS": "2",
            "CLAUDE_AGENT_DEFAULTS_PERMISSION_MODE": "default",
        }
        self._services = services

    def start(self) -> ServiceProcess:
        return self._services.start(**self._env)


async def approvals(client: Client, session_id: str, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    async def wait() -> bool:
        answer = await client.http.get(f"/api/v1/sessions/{session_id}/approvals")
        found[:] = answer.json()["data"]
        return len(found) == count

    await until(wait, 60)
    return found


async def decide(client: Client, session_id: str, approval: dict[str, Any], decision: str) -> int:
    path = f"/api/v1/sessions/{session_id}/approvals/{approval['id']}"
    return (await client.http.post(path, json={"decision": decision})).status_code


async def test_tools_are_allowed_and_denied_through_another_replica(services: Services, storage: Storage):
    pair = Pair(services, storage)
    first, second = pair.start(), pair.start()
    async with Client(first.url) as a, Client(second.url) as b:
        session_id = await a.create()
        folder = Path((await a.http.get(f"/api/v1/sessions/{session_id}")).json()["cwd"])
        asking = asyncio.create_task(a.say(session_id, TOOLS, 120))
        for approval in await approvals(b, session_id, 2):
            assert await decide(b, session_id, approval, "allow") == 200
        for _ in range(2):
            [approval] = await approvals(b, session_id, 1)
            decision = "deny" if "denied" in approval["input"]["command"] else "allow"
            assert await decide(b, session_id, approval, decision) == 200
            assert await decide(a, session_id, approval, decision) == 200
        assert await asking == "done"
        results = [event for event in await b.events(session_id) if event["type"] == "agent.tool_result"]
        assert [event["is_error"] for event in results] == [False, False, False, True, False]
    assert ((folder / "allowed").exists(), (folder / "denied").exists()) == (True, False)


async def test_a_turn_whose_replica_is_killed_while_it_waits_asks_again_on_another(
    services: Services, storage: Storage
):
    pair = Pair(services, storage)
    first, second = pair.start(), pair.start()
    message = script(bash("echo once >> made"), {"text": "done"})
    async with Client(first.url) as a, Client(second.url) as b:
        session_id = await a.create()
        folder = Path((await a.http.get(f"/api/v1/sessions/{session_id}")).json()["cwd"])
        body = {"session_id": session_id, "message": message, "timeout": 120}
        asking = asyncio.create_task(a.http.post("/api/v1/chat", json=body))
        [before] = await approvals(b, session_id, 1)
        first.kill()
        await asyncio.gather(asking, return_exceptions=True)

        async def asked_again() -> bool:
            answer = await b.http.get(f"/api/v1/sessions/{session_id}/approvals")
            return [one["id"] for one in answer.json()["data"]] not in ([], [before["id"]])

        await until(asked_again, 60)
        [again] = await approvals(b, session_id, 1)
        assert await decide(b, session_id, before, "allow") == 409
        assert not (folder / "made").exists()
        assert await decide(b, session_id, again, "allow") == 200

        await b.events_when_idle(session_id, 60)
    assert (folder / "made").read_text() == "once\n"
