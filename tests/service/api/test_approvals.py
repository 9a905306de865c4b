"""Tools that wait to be allowed, over HTTP."""

import asyncio

import pytest
from tests.service.api.rig import problem, take
from tests.waiting import until

from claude_agent_http.runtime.fake import Say, UseTool

SESSIONS, CHAT = "/api/v1/sessions", "/api/v1/chat"


@pytest.fixture
def ask(service):
    """The message at which the agent asks for a tool, and what ran."""
    ran: list[str] = []

    def run() -> str:
        ran.append("rm")
        return "ok"

    service.says["ask"] = [Say("I will"), UseTool(input={"command": "rm"}, run=run, asks=True), Say("done")]
    return ran


async def waiting(client, session_id: str) -> dict:
    """The one approval that is pending, once there is one."""
    found: list[dict] = []

    async def there() -> bool:
        found[:] = (await client.get(f"{SESSIONS}/{session_id}/approvals")).json()["data"]
        return len(found) == 1

    await until(there)
    return found[0]


async def test_a_chat_waits_until_the_tool_is_allowed(client, session_id, body, ask):
    assert (await client.get(f"{SESSIONS}/{session_id}/approvals")).json() == {"data": []}
    asking = asyncio.create_task(client.post(CHAT, json=body("ask")))
    approval = await waiting(client, session_id)
    assert {name: approval[name] for name in ("tool", "input", "reason")} == {
        "tool": "Bash",
        "input": {"command": "rm"},
        "reason": None,
    }
    assert approval["requested_at"] < approval["expires_at"]
    read = (await client.get(f"{SESSIONS}/{session_id}")).json()
    assert read["pending_approvals"] == [approval["id"]]
    assert (ask, asking.done()) == ([], False)

    address = f"{SESSIONS}/{session_id}/approvals/{approval['id']}"
    for _ in range(2):
        decided = await client.post(address, json={"decision": "allow", "reason": "fine"})
        assert decided.status_code == 200
        assert {name: decided.json()[name] for name in ("id", "decision", "reason", "decided_by")} == {
            "id": approval["id"],
            "decision": "allow",
            "reason": "fine",
            "decided_by": "user",
        }
    problem(await client.post(address, json={"decision": "deny"}), 409, "approval_decided")
    answer = (await asking).json()
    assert (ask, answer["text"]) == (["rm"], "I will\n\ndone")
    assert (await client.get(f"{SESSIONS}/{session_id}")).json()["pending_approvals"] == []


async def test_a_stream_tells_of_the_approval_and_of_nothing_else_anew(wire, create, service, ask):
    session_id = await create(wire)
    chunks = []
    chat = {"session_id": session_id, "message": "ask"}
    async with wire.stream("POST", f"{CHAT}/stream", json=chat) as response:
        first = await take(response, lambda sent: sent.data["type"] == "approval_required")
        chunks += [sent.data for sent in first]
    usual = {"type", "text", "tool_name", "tool_input", "error"}
    assert [set(chunk) for chunk in chunks] == [usual] * (len(chunks) - 1) + [usual | {"approval_id"}]
    assert (chunks[-1]["tool_name"], chunks[-1]["tool_input"]) == ("Bash", {"command": "rm"})
    address = f"{SESSIONS}/{session_id}/approvals/{chunks[-1]['approval_id']}"
    assert (await wire.post(address, json={"decision": "deny"})).status_code == 200
    await service.until_logged(session_id, "session.status_idle")
    assert ask == []


async def test_a_chat_that_is_not_answered_in_its_time_is_interrupted(client, session_id, body, ask):
    asking = asyncio.create_task(client.post(CHAT, json=body("ask", timeout=1)))
    approval = await waiting(client, session_id)
    problem(await asking, 504, "turn_timeout")
    address = f"{SESSIONS}/{session_id}/approvals/{approval['id']}"
    problem(await client.post(address, json={"decision": "allow"}), 409, "approval_over")
    assert ask == []


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "decision"),
        ({"decision": "yes"}, "decision"),
        ({"decision": "allow", "reason": " "}, "reason"),
        ({"decision": "deny", "reason": "x" * 2001}, "reason"),
    ],
)
async def test_a_bad_decision_is_told(client, session_id, given, field):
    answer = await client.post(f"{SESSIONS}/{session_id}/approvals/sevt_1", json=given)
    assert problem(answer, 422, "invalid_input")["errors"][0]["field"] == field


async def test_unknown_ones_are_not_found(client, session_id):
    allow = {"decision": "allow"}
    unknown = "6f1ed002-ab5a-4d4c-8f0b-0c6e3a1a7f11"
    address = f"{SESSIONS}/{session_id}/approvals/sevt_1"
    problem(await client.post(address, json=allow), 404, "approval_not_found")
    problem(await client.post(address, content="{}"), 415)
    problem(await client.post(f"{SESSIONS}/{unknown}/approvals/sevt_1", json=allow), 404, "session_not_found")
    problem(await client.get(f"{SESSIONS}/{unknown}/approvals"), 404, "session_not_found")
