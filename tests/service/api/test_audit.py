"""Who did what stands in the audit: every change, every denial, every look at what is another's."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.service.api.rig import Service, problem, serving
from tests.waiting import until

from claude_agent_http.auth import KnownCallers
from claude_agent_http.domain.caller import Caller
from claude_agent_http.domain.errors import IssuerError, StorageError
from claude_agent_http.runtime.fake import Say, UseTool

SESSIONS, CHAT, AUDIT = "/api/v1/sessions", "/api/v1/chat", "/api/v1/admin/audit"
UNKNOWN = "6f1ed002-ab5a-4d4c-8f0b-0c6e3a1a7f11"
SECRET = "the-words-of-a-message"
CALLERS = {
    "alice": Caller("alice", credential="key:a"),
    "bob": Caller("bob", credential="key:b"),
    "backend": Caller(acts_for_any=True, credential="key:backend"),
    "admin": Caller("root", is_admin=True, credential="key:admin"),
}


class Client:
    def __init__(self, service: Service) -> None:
        transport = httpx.ASGITransport(service.api, client=("192.0.2.7", 5))
        self._client = httpx.AsyncClient(transport=transport, base_url="http://test")
        self._seen = 0

    async def ask(self, who: str | None, method: str, path: str, **rest: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {who}"} if who else {}
        return await self._client.request(method, path, headers=headers | rest.pop("headers", {}), **rest)

    async def entries(self, **wanted: Any) -> list[dict[str, Any]]:
        """Oldest first, without the looks at the audit itself."""
        answer = await self.ask("admin", "GET", AUDIT, params={"limit": 1000, **wanted})
        assert answer.status_code == 200, answer.text
        return [one for one in reversed(answer.json()["data"]) if one["route"] != AUDIT]

    async def new(self) -> list[dict[str, Any]]:
        """Since the last time."""
        every = await self.entries()
        fresh, self._seen = every[self._seen :], len(every)
        return fresh

    async def close(self) -> None:
        await self._client.aclose()


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with serving(tmp_path / "users", authenticator=KnownCallers(CALLERS)) as made:
        yield made


@pytest.fixture
async def client(service: Service) -> AsyncIterator[Client]:
    made = Client(service)
    yield made
    await made.close()


@pytest.fixture
async def hers(client: Client) -> str:
    made = await client.ask("alice", "POST", SESSIONS, json={})
    await client.new()
    return str(made.json()["session_id"])


async def test_an_entry_says_who_did_what_and_nothing_of_what_was_said(client: Client, hers: str):
    chat = {"session_id": hers, "message": SECRET}
    answer = await client.ask("alice", "POST", CHAT, json=chat, headers={"X-Request-Id": "mine"})
    assert answer.status_code == 200
    [one] = await client.new()
    assert one.pop("id").startswith("aud_")
    assert one.pop("at").endswith("Z")
    assert one == {
        "caller": "user",
        "credential": "key:a",
        "user_id": "alice",
        "method": "POST",
        "route": CHAT,
        "session_id": hers,
        "key_id": None,
        "status": 200,
        "result": "done",
        "request_id": "mine",
        "client": "192.0.2.7",
        "approval_id": None,
        "decision": None,
    }


async def test_nothing_that_is_secret_or_said_is_in_it(client: Client, hers: str, service: Service):
    chat = {"session_id": hers, "message": SECRET}
    await client.ask("alice", "POST", CHAT, json=chat)
    await client.ask(f"guess-{SECRET}", "GET", f"{SESSIONS}/{hers}?q={SECRET}")
    await client.ask(None, "GET", f"/{SECRET}")
    await client.ask("alice", "PUT", f"{SESSIONS}/{hers}/files/{SECRET}", content=SECRET)
    assert len(entries := await client.new()) == 4
    assert SECRET not in str(entries)
    assert "Bearer" not in str(entries)


@pytest.mark.parametrize("who", ["backend", "alice"])
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/resume", 200),
        ("POST", "/interrupt", 202),
        ("PUT", "/files/a.txt", 201),
        ("DELETE", "/files/none.txt", 404),
        ("PUT", "/files/a/folder/of/a.txt", 201),
        ("DELETE", "/files/a/folder/of%0Anone.txt", 404),
        ("DELETE", "", 204),
    ],
)
async def test_every_change_is_recorded_with_whose_it_is(client, hers, who, method, path, status):
    body = {"content": b"x"} if method == "PUT" else {}
    assert (await client.ask(who, method, f"{SESSIONS}/{hers}{path}", **body)).status_code == status
    [one] = await client.new()
    assert (one["user_id"], one["session_id"], one["status"]) == ("alice", hers, status)
    assert one["credential"] == CALLERS[who].credential
    assert one["caller"] == ("any_user" if who == "backend" else "user")


async def test_what_a_user_reads_of_their_own_is_not_recorded(client, hers):
    for path in ("", "/events", "/files"):
        assert (await client.ask("alice", "GET", f"{SESSIONS}/{hers}{path}")).status_code == 200
    await client.ask("alice", "GET", SESSIONS)
    assert await client.new() == []


async def test_what_a_program_reads_of_users_is_recorded(client, hers):
    for path in ("", "/events"):
        assert (await client.ask("backend", "GET", f"{SESSIONS}/{hers}{path}")).status_code == 200
    await client.ask("backend", "GET", SESSIONS)
    await client.ask("backend", "GET", f"{SESSIONS}?user_id=alice")
    read, events, listed, of_alice = await client.new()
    assert of_alice["user_id"] == "alice"
    assert (read["user_id"], read["route"]) == ("alice", f"{SESSIONS}/{{session_id}}")
    assert (events["user_id"], events["session_id"]) == ("alice", hers)
    assert (listed["user_id"], listed["route"]) == (None, SESSIONS)


async def test_what_is_denied_is_recorded(client, hers):
    asked = [
        (None, "GET", f"{SESSIONS}/{hers}", 401),
        ("guess", "GET", f"{SESSIONS}/{hers}/events", 401),
        ("guess", "GET", "/not/ours", 401),
        ("bob", "GET", f"{SESSIONS}/{hers}", 404),
        ("bob", "GET", f"{SESSIONS}/{UNKNOWN}", 404),
        ("bob", "GET", f"{SESSIONS}?user_id=alice", 403),
        ("bob", "GET", AUDIT, 403),
        ("bob", "GET", "/not/ours", 404),
    ]
    for who, method, path, status in asked:
        assert (await client.ask(who, method, path)).status_code == status
    entries = await client.entries(result="denied")
    said = [(one["credential"], one["caller"], one["user_id"], one["session_id"]) for one in entries]
    assert said == [
        (None, "unknown", None, hers),
        (None, "unknown", None, hers),
        (None, "unknown", None, None),
        ("key:b", "user", "bob", hers),
        ("key:b", "user", "bob", UNKNOWN),
        ("key:b", "user", "bob", None),
    ]
    assert [one["route"] for one in entries][:3] == [
        f"{SESSIONS}/{{session_id}}",
        f"{SESSIONS}/{{session_id}}/events",
        None,
    ]
    await client.ask("bob", "DELETE", f"{SESSIONS}/{hers}")
    assert (await client.new())[-1]["method"] == "DELETE"


async def test_who_decided_what_about_which_tool_is_recorded(client, hers, service):
    service.says["ask"] = [UseTool(input={"command": "rm"}, run=lambda: "ok", asks=True), Say("done")]
    chat = {"session_id": hers, "message": "ask"}
    turn = asyncio.create_task(client.ask("alice", "POST", CHAT, json=chat))
    url = f"{SESSIONS}/{hers}/approvals"

    async def asks() -> bool:
        return bool((await client.ask("alice", "GET", url)).json()["data"])

    await until(asks)
    approval = (await client.ask("alice", "GET", url)).json()["data"][0]["id"]
    decisions = (("bob", "allow", 404), ("backend", "deny", 200), ("alice", "allow", 409))
    for who, decision, status in decisions:
        body = {"decision": decision, "reason": SECRET}
        assert (await client.ask(who, "POST", f"{url}/{approval}", json=body)).status_code == status
    await turn
    await client.ask("alice", "POST", f"{url}/{SECRET}", json={"decision": "deny"})
    recorded = [one for one in await client.new() if one["route"].endswith("/approvals/{approval_id}")]
    said = [(one["credential"], one["approval_id"], one["decision"], one["status"]) for one in recorded]
    assert said == [
        ("key:b", approval, None, 404),  # for bob it does not exist, whatever he wants
        ("key:backend", approval, "deny", 200),
        ("key:a", approval, "allow", 409),
        ("key:a", None, "deny", 404),
    ]


async def test_probes_and_documentation_are_not_recorded(client):
    for path in ("/", "/health", "/livez", "/readyz", "/docs", "/openapi.json", "/docs/assets/none.css"):
        await client.ask(None, "GET", path)
        await client.ask("backend", "GET", path)
    assert await client.new() == []


async def test_looking_at_the_audit_is_recorded(client):
    await client.entries()
    answer = await client.ask("admin", "GET", AUDIT)
    [one] = answer.json()["data"]
    assert (one["caller"], one["credential"], one["route"]) == ("admin", "key:admin", AUDIT)


async def test_a_request_that_fails_is_recorded(client, hers, service):
    service.store.sessions_error = StorageError("no answer")
    assert (await client.ask("alice", "POST", f"{SESSIONS}/{hers}/resume")).status_code == 503
    service.store.sessions_error = RuntimeError("a surprise")
    assert (await client.ask("alice", "POST", f"{SESSIONS}/{hers}/resume")).status_code == 500
    service.store.sessions_error = None
    assert [(one["status"], one["result"]) for one in await client.new()] == [
        (503, "failed"),
        (500, "failed"),
    ]


async def test_what_strangers_ask_while_nobody_can_tell_who_they_are_does_not_fill_it(tmp_path):
    class Away(KnownCallers):
        async def caller(self, credential: str | None, *, suspect: bool = False) -> Caller:
            if credential == "token":
                raise IssuerError("the keys of the tokens' issuer cannot be had now")
            return await super().caller(credential, suspect=suspect)

    async with serving(tmp_path, authenticator=Away(CALLERS)) as service:
        client = Client(service)
        for _ in range(5):
            problem(await client.ask("token", "POST", SESSIONS, json={}), 503, "issuer_failed")
        await client.ask("guess", "POST", SESSIONS, json={})
        assert [one["status"] for one in await client.new()] == [401]
        await client.close()


async def test_pages_and_filters(client, hers):
    for _ in range(3):
        await client.ask("alice", "POST", f"{SESSIONS}/{hers}/interrupt")
    await client.ask("bob", "POST", SESSIONS, json={})
    first = (await client.ask("admin", "GET", AUDIT, params={"limit": 2, "user_id": "alice"})).json()
    rest = await client.ask(
        "admin", "GET", AUDIT, params={"limit": 9, "user_id": "alice", "page": first["next_page"]}
    )
    routes = [one["route"].rpartition("/")[2] for one in (*first["data"], *rest.json()["data"])]
    assert routes == ["interrupt", "interrupt", "interrupt", "sessions"]
    assert rest.json()["next_page"] is None
    for page in ("zzz", "", "aud_", first["next_page"][:-1], first["next_page"] + "\n"):
        refused = await client.ask("admin", "GET", AUDIT, params={"page": page})
        assert problem(refused, 422)["errors"][0]["field"] == "page"
    assert len(await client.entries(session_id=hers)) == 4
    [one] = await client.entries(credential="key:b")
    assert await client.entries(until=one["at"], credential="key:b") == []
    assert await client.entries(since=one["at"], credential="key:b") == [one]


@pytest.mark.parametrize(
    "wanted",
    [
        {"result": "x"},
        {"since": "2026-01-01T00:00"},
        {"since": "0001-01-01T00:00:00+23:00"},
        {"until": "0.0"},
        {"until": "9999-12-31T23:59:59-23:00"},
        {"limit": 0},
        {"user_id": "/"},
    ],
)
async def test_a_bad_filter_is_named(client, wanted):
    body = problem(await client.ask("admin", "GET", AUDIT, params=wanted), 422, "invalid_input")
    assert [one["field"] for one in body["errors"]] == list(wanted)


async def test_without_a_place_nothing_is_done(client, hers, service, monkeypatch):
    async def none(*_: Any) -> None:
        raise StorageError("what is done here must be audited")

    monkeypatch.setattr("claude_agent_http.engine.audit_trail.AuditTrail.place", none)
    problem(await client.ask("alice", "DELETE", f"{SESSIONS}/{hers}"), 503, "storage_failed")
    assert (await client.ask(None, "GET", "/livez")).status_code == 200
    assert (await service.engine.get(hers)).id == hers


async def test_where_nobody_is_known_everyone_is_recorded_as_that(tmp_path):
    async with serving(tmp_path) as service:
        client = Client(service)
        made = await client.ask(None, "POST", SESSIONS, json={"user_id": "alice"})
        await client.ask(None, "GET", f"{SESSIONS}/{made.json()['session_id']}")
        [one] = await client.new()
        assert (one["caller"], one["credential"], one["user_id"]) == ("everyone", None, "alice")
        await client.close()
