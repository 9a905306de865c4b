"""Whose sessions a caller reaches: every route of the OpenAPI document is asked by somebody else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from tests.service.api.rig import Service, build, problem, serving, sse, take
from tests.service.api.walk import Operation, operations

from claude_agent_http.api import valid_response
from claude_agent_http.api.access import ADMIN, CALLER, declared
from claude_agent_http.auth import KnownCallers
from claude_agent_http.domain.approval import AskedTool
from claude_agent_http.domain.caller import Caller
from claude_agent_http.domain.errors import StorageError
from claude_agent_http.domain.vocabulary import tool_approval_requested
from claude_agent_http.system.loopback import LoopbackServer

SESSIONS, CHAT, USERS = "/api/v1/sessions", "/api/v1/chat", "/api/v1/users"
UNKNOWN = "6f1ed002-ab5a-4d4c-8f0b-0c6e3a1a7f11"
CALLERS = {
    "alice": Caller("alice", credential="key:a"),
    "bob": Caller("bob", credential="key:b"),
    "backend": Caller(acts_for_any=True, credential="key:backend"),
    "admin": Caller(is_admin=True, credential="key:admin"),
}
DOCUMENT = build(Path("/nowhere"), authenticator=KnownCallers({})).api.openapi()
OPERATIONS = list(operations(DOCUMENT))


def of(*kinds: str) -> pytest.MarkDecorator:
    chosen = [one for one in OPERATIONS if one.access in kinds]
    return pytest.mark.parametrize("operation", chosen, ids=str)


def shown(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {name}"}


@pytest.fixture
def known() -> KnownCallers:
    return KnownCallers(CALLERS)


@pytest.fixture
async def service(tmp_path: Path, known: KnownCallers) -> AsyncIterator[Service]:
    async with serving(tmp_path / "users", authenticator=known) as made:
        yield made


@pytest.fixture
async def wire(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """Without a credential of its own, over a real socket: some answers never end."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(LoopbackServer(service.api))
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=server.url, timeout=10))
        stack.push_async_callback(service.engine.stop, 0)
        yield client


@pytest.fixture
async def hers(wire: httpx.AsyncClient) -> str:
    """A session of Alice's in which something was said, and a file lies that the document has for example."""
    made = await wire.post(SESSIONS, json={"user_id": "alice"}, headers=shown("alice"))
    session_id = str(made.json()["session_id"])
    chat = {"session_id": session_id, "message": "hi"}
    assert (await wire.post(CHAT, json=chat, headers=shown("alice"))).status_code == 200
    file = f"{SESSIONS}/{session_id}/files/notes.txt"
    assert (await wire.put(file, content=b"hers", headers=shown("alice"))).status_code == 201
    return session_id


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


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("X-Api-Key", "alice")], 200),
        ([("authorization", "bearer alice")], 200),
        ([("Authorization", "Bearer alice"), ("X-Api-Key", "alice")], 200),
        ([("Authorization", "Basic YTpi"), ("X-Api-Key", "alice")], 200),
        ([("Authorization", "Basic YTpi")], 401),
        ([("Authorization", "alice")], 401),
        ([("Authorization", "Bearer")], 401),
        ([("X-Api-Key", "")], 401),
        ([("Authorization", "Bearer bob"), ("X-Api-Key", "alice")], 401),
        ([("X-Api-Key", "alice"), ("X-Api-Key", "bob")], 401),
        ([("Authorization", "Bearer alice"), ("Authorization", "Bearer bob")], 401),
        ([("X-Api-Key", "alice, bob")], 401),
        ([("X-Api-Key", "a" * 16_385)], 401),
        ([("Cookie", "X-Api-Key=alice")], 401),
    ],
)
async def test_where_a_credential_may_stand(wire, headers, status):
    assert (await wire.get(SESSIONS, headers=headers)).status_code == status
    assert (await wire.get(SESSIONS, params={"api_key": "alice", "x-api-key": "alice"})).status_code == 401


async def test_a_stranger_has_nothing_read(wire):
    """Neither the body nor the values: 401 comes before what they might be."""
    for content in (b"{", b"x" * 3_000_000):
        sent = {"content": content, "headers": {"Content-Type": "application/json"}}
        problem(await wire.post(CHAT, **sent), 401)
    problem(await wire.get(f"{SESSIONS}?limit=x"), 401)
    problem(await wire.get("/nothing/here"), 401)
    problem(await wire.get("/nothing/here", headers=shown("bob")), 404)


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/docs/assets/swagger-ui.css"])
async def test_the_documentation_is_open(wire, path):
    assert (await wire.get(path)).status_code == 200


@pytest.mark.parametrize("path", ["/health/", "/docs/assets", "/docs/assets/..%2F..%2Fapi%2Fv1%2Fsessions"])
async def test_what_only_looks_open_is_not(wire, path):
    problem(await wire.get(path), 404 if "%2F" in path else 401)


async def test_a_page_of_another_origin_asks_first_without_a_credential(tmp_path):
    origin = "https://app.example"
    async with serving(tmp_path, authenticator=KnownCallers(CALLERS), cors_origins=[origin]) as service:
        transport = httpx.ASGITransport(service.api)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            asks = {
                "Origin": origin,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization, x-api-key, content-type",
            }
            assert (await client.options(CHAT, headers=asks)).status_code == 200
            refused = await client.get(SESSIONS, headers={"Origin": origin})
            problem(refused, 401)
            assert refused.headers["access-control-allow-origin"] == origin


async def test_a_database_that_does_not_answer_is_no_refusal(tmp_path):
    class Broken:
        async def caller(self, credential: str | None, *, suspect: bool = False) -> Caller:
            raise StorageError("the database does not answer")

    async with serving(tmp_path, authenticator=Broken()) as service:
        transport = httpx.ASGITransport(service.api)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            problem(await client.get(SESSIONS), 503, "storage_failed")


async def test_without_an_authenticator_everyone_may_do_everything(tmp_path):
    async with serving(tmp_path) as service:
        transport = httpx.ASGITransport(service.api)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            basic = {"Authorization": "Basic YTpi"}
            for name in ("alice", "bob"):
                made = await client.post(SESSIONS, json={"user_id": name}, headers=basic)
                assert made.status_code == 201
            assert len((await client.get(SESSIONS)).json()) == 2
            problem(await client.post(SESSIONS, json={}), 422, "invalid_input")


async def test_the_log_names_the_credential_and_never_shows_it(wire, hers, caplog):
    with caplog.at_level("INFO"):
        await wire.get(f"{SESSIONS}/{hers}", headers=shown("backend"))
    [line] = [one for one in caplog.records if one.getMessage() == "request"]
    assert (line.caller, line.user_id, line.session_id) == ("key:backend", "alice", hers)


async def test_a_refused_credential_is_logged_without_it(wire, caplog):
    await wire.get(SESSIONS, headers=shown("stranger"))
    await wire.get(SESSIONS)
    [line] = [one for one in caplog.records if one.getMessage() == "a credential was refused"]
    assert (line.reason, line.client) == ("this credential is not known", "127.0.0.1")
    assert "stranger" not in caplog.text


async def test_a_stream_ends_with_its_credential(wire, hers, known, monkeypatch):
    """As a whole response, not as a broken one; others' streams go on."""
    monkeypatch.setattr(valid_response, "STREAM_SECONDS", 0.02)
    path = f"{SESSIONS}/{hers}/events/stream"
    async with (
        asyncio.timeout(5),
        wire.stream("GET", path, headers=shown("alice")) as stream,
        wire.stream("GET", path, headers=shown("backend")) as other,
    ):
        items = sse(stream)
        while (await anext(items)).data["type"] != "session.status_idle":
            pass
        del known.callers["alice"]
        assert [item async for item in items] == []
        chat = {"session_id": hers, "message": "again"}
        await wire.post(CHAT, json=chat, headers=shown("backend"))
        await take(other, lambda sent: sent.data["seq"] > 8 and sent.data["type"] == "session.status_idle")
    problem(await wire.get(path, headers=shown("alice")), 401)


async def test_a_stream_ends_when_its_credential_becomes_another_callers(wire, hers, known, monkeypatch):
    monkeypatch.setattr(valid_response, "STREAM_SECONDS", 0.02)
    path = f"{SESSIONS}/{hers}/events/stream"
    async with asyncio.timeout(5), wire.stream("GET", path, headers=shown("alice")) as stream:
        items = sse(stream)
        while (await anext(items)).data["type"] != "session.status_idle":
            pass
        known.callers["alice"] = replace(known.callers["alice"], user_id="bob")
        assert [item async for item in items] == []


@pytest.mark.parametrize("pause", [0.005, 0.1])
@pytest.mark.parametrize("change", ["revoked", "another's"])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("PUT", f"{SESSIONS}/{{}}/files/late.txt", b"x" * 100), ("POST", SESSIONS, b'{"subdir": "late"}')],
)
async def test_a_body_that_still_comes_when_its_credential_ends_does_nothing(
    wire, hers, known, service, monkeypatch, method, path, body, change, pause
):
    """Whether it comes in small pieces or not at all for a while."""
    monkeypatch.setattr(valid_response, "STREAM_SECONDS", 0.02)
    alice, ask, asked = known.callers["alice"], known.caller, asyncio.Event()

    async def noting(credential: str | None, **more: bool) -> Caller:
        caller = await ask(credential, **more)
        asked.set()
        return caller

    monkeypatch.setattr(known, "caller", noting)

    async def slowly():
        yield body[:1]
        await asked.wait()
        if change == "revoked":
            del known.callers["alice"]
        else:
            known.callers["alice"] = replace(alice, user_id="bob")
        for at in range(1, len(body)):
            await asyncio.sleep(pause if at < 10 else 0)
            yield body[at : at + 1]

    headers = {**shown("alice"), "Content-Type": "application/json"}
    late = await wire.request(method, path.format(hers), headers=headers, content=slowly())
    answer = problem(late, 401, "not_authenticated")
    assert "invalid_token" in late.headers["www-authenticate"]
    assert ("another caller's" in answer["detail"]) is (change != "revoked")
    known.callers["alice"] = alice
    listed = await wire.get(f"{SESSIONS}/{hers}/files", headers=shown("alice"))
    assert [one["path"] for one in listed.json()["data"]] == ["notes.txt"]
    assert (await wire.get(SESSIONS, headers=shown("alice"))).json() == [hers]


async def test_a_body_that_comes_slowly_is_taken_while_its_credential_is_good(wire, hers, monkeypatch):
    monkeypatch.setattr(valid_response, "STREAM_SECONDS", 0.005)

    async def slowly():
        for _ in range(10):
            await asyncio.sleep(0.01)
            yield b"x"

    path = f"{SESSIONS}/{hers}/files/slow.txt"
    assert (await wire.put(path, headers=shown("alice"), content=slowly())).status_code == 201
    assert (await wire.get(path, headers=shown("alice"))).content == b"x" * 10


async def test_a_stream_goes_on_while_the_database_does_not_answer(wire, hers, known, monkeypatch):
    monkeypatch.setattr(valid_response, "STREAM_SECONDS", 0.02)
    asked = asyncio.Event()

    async with wire.stream("GET", f"{SESSIONS}/{hers}/events/stream", headers=shown("alice")) as stream:
        good = known.caller

        async def broken(credential: str | None, *, suspect: bool = False) -> Caller:
            asked.set()
            raise StorageError("the database does not answer")

        known.caller = broken
        await asyncio.wait_for(asked.wait(), 5)
        known.caller = good
        await wire.post(CHAT, json={"session_id": hers, "message": "again"}, headers=shown("alice"))
        sent = await take(stream, lambda sent: sent.data["seq"] > 8)
        assert sent
