"""A text is a text, whatever it holds and wherever a request has it: nothing is run, forged or reached."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio
from tests.adversarial.callers import caller, created, start_with_keys
from tests.adversarial.places import Place, places
from tests.service.e2e.client import bash, script
from tests.service.e2e.service_process import ServiceProcess, Services
from tests.waiting import until

pytestmark = [
    pytest.mark.tier("cli"),
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="module"),
]

_SECRET = "what only bob may read"
_RUN = Path("/tmp/injected")
_TEXTS = (
    "'; DROP TABLE sessions; --",
    '" OR "1"="1',
    f"$(touch {_RUN})",
    f"`touch {_RUN}`",
    "{{7*7}}",
    "%(session_id)s%n",
    'x\n{"level":"error","event":"forged"}',
    "x\r\nSet-Cookie: forged=1",
    "\u2028\u202e\x1b[31mforged",
    "../../bob",
    "..%2f..%2fbob",
    "\x00bob",
)
# Chats, whose messages are for an agent, have a test of their own.
_CHATS = frozenset({"/api/v1/chat", "/api/v1/chat/stream"})
# The document may never be without these.
_AT_LEAST = {
    ("json", "user_id"),
    ("json", "subdir"),
    ("json", "metadata"),
    ("json", "message"),
    ("json", "reason"),
    ("json", "name"),
    ("path", "session_id"),
    ("path", "approval_id"),
    ("path", "path"),
    ("path", "key_id"),
    ("query", "page"),
    ("query", "credential"),
    ("query", "path"),
    ("header", "idempotency-key"),
    ("header", "last-event-id"),
    ("raw", ""),
}


@pytest.fixture(scope="module")
def service() -> Iterator[ServiceProcess]:
    """Whose agents ask before they run a tool."""
    services = Services()
    limits = {f"CLAUDE_AGENT_LIMITS_{name}_PER_MINUTE": "0" for name in ("REQUESTS", "TURNS", "FAILURES")}
    yield start_with_keys(
        services,
        CLAUDE_AGENT_DEFAULTS_PERMISSION_MODE="default",
        CLAUDE_AGENT_API_PRESTART="false",
        CLAUDE_AGENT_LOGGING_LEVEL="debug",
        **limits,
    )
    services.end()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def callers(service: ServiceProcess) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    made = {user: caller(service, user) for user in ("eve", "bob", "root")}
    yield made
    for client in made.values():
        await client.aclose()


@pytest.fixture
def eve(callers: dict[str, httpx.AsyncClient]) -> httpx.AsyncClient:
    return callers["eve"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def all_places(callers: dict[str, httpx.AsyncClient]) -> list[Place]:
    found = list(places((await callers["eve"].get("/openapi.json")).json()))
    assert {(one.where, one.name) for one in found} >= _AT_LEAST
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def of_bob(callers: dict[str, httpx.AsyncClient]) -> tuple[str, dict[str, Any]]:
    """Bob's session, and all that is in it."""
    bob = callers["bob"]
    session = await created(bob)
    said = await bob.post("/api/v1/chat", json={"session_id": session, "message": _SECRET})
    assert said.status_code == 200, said.text
    return session, (await bob.get(f"/api/v1/sessions/{session}/events")).json()


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def nothing_came_of_it(
    service: ServiceProcess,
    callers: dict[str, httpx.AsyncClient],
    of_bob: tuple[str, dict[str, Any]],
) -> AsyncIterator[None]:
    yield
    session, events = of_bob
    assert (await callers["bob"].get(f"/api/v1/sessions/{session}/events")).json() == events
    _check_log(service)


def _check_log(service: ServiceProcess) -> None:
    assert not _RUN.exists()
    assert "\x1b" not in service.log
    logged = [json.loads(line) for line in (service.folder / "err.log").read_text().splitlines()]
    assert all(isinstance(one, dict) and one["event"] != "forged" for one in logged)


@pytest.mark.parametrize("text", _TEXTS, ids=repr)
async def test_a_text_is_a_text_in_every_field(
    callers: dict[str, httpx.AsyncClient], all_places: list[Place], text: str
) -> None:
    session = await created(callers["eve"])
    known = {
        "session_id": session,
        "approval_id": "sevt_00000000000000000000000000",
        "path": "file",
        "user_id": "eve",
        "key_id": "0000000000000",
        "decision": "deny",
        "name": "a key",
    }
    for place in all_places:
        if place.path in _CHATS and place.name != "session_id":
            continue
        if place.method == "delete" and place.where != "path":
            continue  # Else what the other places need would be gone.
        client = callers["root" if "/admin/" in place.path else "eve"]
        async with client.stream(**place.request(text, known | {"message": "hello"})) as answer:
            is_stream = answer.headers.get("content-type", "").startswith("text/event-stream")
            body = "" if is_stream else (await answer.aread()).decode()
        assert answer.status_code < 500, (place, body)
        assert _SECRET not in body, place
        names_and_values = " ".join((*answer.headers.keys(), *answer.headers.values()))
        assert "forged" not in names_and_values, place
        assert "set-cookie" not in answer.headers, place


@pytest.mark.parametrize("path", sorted(_CHATS))
@pytest.mark.parametrize("text", _TEXTS, ids=repr)
async def test_a_message_is_told_and_kept_as_it_was_written(
    eve: httpx.AsyncClient, path: str, text: str
) -> None:
    session = await created(eve, metadata={text: text})
    assert (await eve.get(f"/api/v1/sessions/{session}")).json()["metadata"] == {text: text}
    answer = await eve.post(path, json={"session_id": session, "message": text})
    assert answer.status_code == 200, answer.text
    events = (await eve.get(f"/api/v1/sessions/{session}/events")).json()["data"]
    said = next(one for one in events if one["type"] == "user.message")
    assert said["content"] == [{"type": "text", "text": text}]
    assert events[-1]["stop_reason"]["type"] == "end_turn"


@pytest.mark.parametrize("text", _TEXTS, ids=repr)
async def test_a_reason_is_told_and_kept_as_it_was_written(
    service: ServiceProcess, eve: httpx.AsyncClient, text: str
) -> None:
    session = await created(eve)
    body = {"session_id": session, "message": script(bash("touch ran"))}
    turn = asyncio.create_task(eve.post("/api/v1/chat", json=body))
    url = f"/api/v1/sessions/{session}/approvals"

    async def asks() -> bool:
        assert not turn.done(), turn.result().text
        return bool((await eve.get(url)).json()["data"])

    await until(asks, 60)
    approval = (await eve.get(url)).json()["data"][0]["id"]
    decided = await eve.post(f"{url}/{approval}", json={"decision": "deny", "reason": text})
    assert decided.status_code == 200, decided.text
    assert (await turn).status_code == 200
    events = (await eve.get(f"/api/v1/sessions/{session}/events")).json()["data"]
    kept = next(one for one in events if one["type"] == "user.tool_confirmation")
    assert kept["deny_message"] == text
    assert not (service.users / "eve" / "ran").exists()


@pytest.mark.parametrize("text", _TEXTS, ids=repr)
async def test_a_file_is_named_so_or_not_at_all(
    service: ServiceProcess, eve: httpx.AsyncClient, text: str
) -> None:
    session = await created(eve)
    url = f"/api/v1/sessions/{session}/files"
    answer = await eve.put(f"{url}/{quote(text, safe='')}", content=text.encode())
    listed = [one["path"] for one in (await eve.get(url)).json()["data"]]
    if answer.status_code in (200, 201):  # 200: it replaced one of an earlier test.
        assert text in listed
        assert (service.users / "eve" / text).read_text() == text
    else:
        assert answer.status_code in (404, 422), answer.text
    assert not any(".." in Path(one).parts for one in listed)


@pytest.mark.parametrize("text", _TEXTS, ids=repr)
async def test_a_key_is_named_so_or_not_at_all(callers: dict[str, httpx.AsyncClient], text: str) -> None:
    root = callers["root"]
    answer = await root.post("/api/v1/admin/keys", json={"name": text, "user_id": "eve"})
    names = [one["name"] for one in (await root.get("/api/v1/admin/keys")).json()["data"]]
    if answer.status_code == 201:
        assert text in names
    else:
        assert answer.status_code == 422, answer.text
        assert text not in names


@pytest.mark.parametrize("text", _TEXTS, ids=repr)
@pytest.mark.parametrize("name", ["credential", "session_id"])
async def test_a_filter_of_the_audit_finds_what_is_called_so(
    callers: dict[str, httpx.AsyncClient], name: str, text: str
) -> None:
    found = await callers["root"].get("/api/v1/admin/audit", params={name: text})
    assert (found.status_code, found.json()["data"]) == (200, [])
