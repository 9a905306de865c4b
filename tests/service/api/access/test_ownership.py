"""Whose sessions a caller reaches: every route of the OpenAPI document is asked by somebody else."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from tests.service.api.access.callers import CHAT, SESSIONS, USERS, shown
from tests.service.api.rig import Service, build, problem
from tests.service.api.walk import Operation, operations

from claude_agent_http.api.access import ADMIN, CALLER, declared
from claude_agent_http.auth import KnownCallers
from claude_agent_http.domain.approval import AskedTool
from claude_agent_http.domain.vocabulary import tool_approval_requested

UNKNOWN = "6f1ed002-ab5a-4d4c-8f0b-0c6e3a1a7f11"
DOCUMENT = build(Path("/nowhere"), authenticator=KnownCallers({})).api.openapi()
OPERATIONS = list(operations(DOCUMENT))


def of(*kinds: str) -> pytest.MarkDecorator:
    chosen = [one for one in OPERATIONS if one.access in kinds]
    return pytest.mark.parametrize("operation", chosen, ids=str)


async def answer(client: httpx.AsyncClient, operation: Operation, name: str | None, **given: Any) -> Any:
    """Of a stream that goes well only the head is read."""
    headers = shown(name) if name else {}
    async with client.stream(**operation.asked(given).sent(), headers=headers) as response:
        if response.is_error or "event-stream" not in response.headers.get("content-type", ""):
            await response.aread()
        return response


async def ask_for_a_tool(service: Service, session_id: str) -> None:
    """The approval that the document has for example."""
    tool = AskedTool("toolu_1", "Bash", {})
    asked = tool_approval_requested("sevt_01m8q45b0pnc47123kwerfgq9x", "sevt_0", tool, datetime.now(UTC))
    await service.store.events.append(session_id, [asked])


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_every_operation_declares_its_access(operation: Operation):
    assert operation.access in {"open", "caller", "owner", "admin"}
    if operation.requires("session_id"):
        assert operation.access == "owner"
    if operation.access == "open":
        assert not operation.names("session_id")
        assert not operation.names("user_id")
    needed = operation.described.get("security", DOCUMENT["security"])
    assert needed == ([] if operation.access == "open" else [{"apiKey": []}, {"bearer": []}])


@of("open")
async def test_open_routes_ask_nobody(wire, operation):
    assert (await answer(wire, operation, None)).status_code == 200
    assert (await answer(wire, operation, "stranger")).status_code == 200


@of("owner", "caller", "admin")
async def test_all_others_ask_who_calls(wire, hers, operation):
    given = {"session_id": hers, "user_id": "alice"}
    missing = await answer(wire, operation, None, **given)
    body = problem(missing, 401, "not_authenticated")
    assert operation.method == "HEAD" or "X-Api-Key" in body["detail"]
    assert missing.headers["www-authenticate"] == 'Bearer realm="claude-agent-http"'
    unknown = await answer(wire, operation, "stranger", **given)
    assert "stranger" not in unknown.text
    problem(unknown, 401, "not_authenticated")
    assert 'error="invalid_token"' in unknown.headers["www-authenticate"]


@pytest.mark.parametrize("who", ["bob", "admin"])
@of("owner")
async def test_anothers_session_does_not_exist(wire, service, hers, operation, who):
    before = await service.engine.get(hers), await service.log(hers)
    assert operation.names("session_id")
    foreign = await answer(wire, operation, who, session_id=hers)
    body = problem(foreign, 404, "session_not_found")
    unknown = await answer(wire, operation, who, session_id=UNKNOWN)
    assert body == {
        key: value.replace(UNKNOWN, hers) if isinstance(value, str) else value
        for key, value in problem(unknown, 404, "session_not_found").items()
    }
    lengths = [{**one.headers} | {"date": "", "x-request-id": ""} for one in (foreign, unknown)]
    assert lengths[0] == lengths[1]
    assert (await service.engine.get(hers), await service.log(hers)) == before


@pytest.mark.parametrize("who", ["alice", "backend"])
@of("owner")
async def test_the_owner_and_who_acts_for_her_reach_it(wire, service, hers, operation, who):
    if operation.names("approval_id"):
        await ask_for_a_tool(service, hers)
    assert (await answer(wire, operation, who, session_id=hers)).status_code < 300


@of("caller")
async def test_another_users_name_is_refused_and_named(wire, service, hers, operation):
    if not operation.names("user_id"):
        return
    before = await service.engine.list_ids(None, limit=10)
    body = problem(await answer(wire, operation, "bob", user_id="alice"), 403, "forbidden")
    assert [error["field"] for error in body["errors"]] == ["user_id"]
    assert "'bob'" in body["detail"]
    assert await service.engine.list_ids(None, limit=10) == before == [hers]


@of("caller")
async def test_ones_own_name_and_anybodys_for_who_acts_for_all_are_taken(wire, operation):
    for who in ("alice", "backend"):
        assert (await answer(wire, operation, who, user_id="alice")).status_code < 300


@of("admin")
async def test_only_an_admin_passes_here(wire, hers, operation):
    for who in ("alice", "backend"):
        problem(await answer(wire, operation, who, user_id="alice"), 403, "forbidden")
    assert (await answer(wire, operation, "admin", user_id="alice")).status_code in {200, 201, 404}


@pytest.mark.parametrize("dependencies", [[], [CALLER, ADMIN]])
def test_a_route_without_one_access_stops_the_start(dependencies):
    api = FastAPI()
    router = APIRouter()
    router.get("/new", dependencies=dependencies, include_in_schema=False)(lambda: None)
    api.include_router(router)
    with pytest.raises(TypeError, match=r"/new must declare one access"):
        declared(api)


async def test_the_list_is_the_callers_own(wire, hers):
    made = await wire.post(SESSIONS, json={}, headers=shown("bob"))
    his = made.json()["session_id"]
    assert made.json()["user_id"] == "bob"
    assert (await wire.get(SESSIONS, headers=shown("alice"))).json() == [hers]
    assert (await wire.get(SESSIONS, headers=shown("bob"))).json() == [his]
    assert (await wire.get(SESSIONS, headers=shown("backend"))).json() == [his, hers]
    asked = {"user_id": "alice"}
    assert (await wire.get(SESSIONS, params=asked, headers=shown("backend"))).json() == [hers]
    assert (await wire.get(SESSIONS, params={"user_id": "bob"}, headers=shown("bob"))).json() == [his]
    problem(await wire.get(SESSIONS, headers=shown("admin")), 403, "forbidden")


async def test_a_place_in_the_list_tells_nothing_of_others_sessions(wire, hers):
    answers = [
        await wire.get(SESSIONS, params={"after": after}, headers=shown("bob")) for after in (hers, UNKNOWN)
    ]
    assert problem(answers[0], 422) == problem(answers[1], 422)
    assert (await wire.get(SESSIONS, params={"after": hers}, headers=shown("alice"))).json() == []
    assert (await wire.get(SESSIONS, params={"after": hers}, headers=shown("backend"))).json() == []


async def test_who_is_no_user_has_to_name_one(wire):
    body = problem(await wire.post(SESSIONS, json={}, headers=shown("backend")), 422, "invalid_input")
    assert [error["field"] for error in body["errors"]] == ["user_id"]
    for given in ({}, {"user_id": "alice"}):
        body = problem(await wire.post(SESSIONS, json=given, headers=shown("admin")), 403, "forbidden")
        assert [error["field"] for error in body["errors"]] == ["user_id"]


async def test_anothers_session_id_cannot_be_chosen_nor_its_key_repeated(wire, hers):
    taken = await wire.post(SESSIONS, json={"session_id": hers}, headers=shown("bob"))
    problem(taken, 409, "session_conflict")
    key = {"Idempotency-Key": "order-7"}
    first = await wire.post(SESSIONS, json={}, headers=shown("alice") | key)
    other = await wire.post(SESSIONS, json={}, headers=shown("bob") | key)
    assert other.json()["user_id"] == "bob"
    assert other.json()["session_id"] != first.json()["session_id"]


async def test_an_admin_erases_anybody_and_reads_nobody(wire, hers):
    problem(await wire.get(f"{SESSIONS}/{hers}", headers=shown("admin")), 404)
    erased = await wire.delete(f"{USERS}/alice", headers=shown("admin"))
    assert erased.json()["sessions_deleted"] == 1


@pytest.fixture
def read(service, hers) -> list[str]:
    """The ids of the sessions that were read since `hers` was there."""
    ids: list[str] = []
    get = service.store.inner.sessions.get

    async def counted(session_id: str) -> Any:
        ids.append(session_id)
        return await get(session_id)

    service.store.inner.sessions.get = counted
    return ids


async def test_ownership_costs_a_session_that_lives_here_no_read(wire, service, hers, read):
    """And a stranger's answer comes after the same reads, whether the session lives here or is none."""
    assert service.engine.owner_here(hers) == "alice"
    chat = {"session_id": hers, "message": "hi"}
    assert (await wire.post(CHAT, json=chat, headers=shown("alice"))).status_code == 200
    assert read == []
    for session_id in (hers, UNKNOWN):
        read.clear()
        path = f"{SESSIONS}/{session_id}/events"
        problem(await wire.get(path, headers=shown("bob")), 404)
        assert read == [session_id]


@pytest.mark.parametrize("what", ["", "/approvals", "/files"])
async def test_a_session_that_does_not_live_here_is_read_once(wire, service, read, what):
    made = (await wire.post(SESSIONS, json={}, headers=shown("alice"))).json()["session_id"]
    assert service.engine.owner_here(made) is None
    read.clear()
    assert (await wire.get(f"{SESSIONS}/{made}{what}", headers=shown("alice"))).status_code == 200
    assert read == [made]
