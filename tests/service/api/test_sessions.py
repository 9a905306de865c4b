"""Creating, finding, resuming and deleting sessions."""

import uuid
from datetime import datetime

import pytest
from tests.service.api.rig import problem

from claude_agent_http.domain.errors import BusyError, StorageError, StorageFullError, WorkspaceError

SESSIONS = "/api/v1/sessions"
FIELDS = {
    "session_id",
    "user_id",
    "cwd",
    "created_at",
    "last_active_at",
    "message_count",
    "status",
    "metadata",
}
UNKNOWN = "6f1ed002-ab5a-4d4c-8f0b-0c6e3a1a7f11"


async def test_create_answers_with_the_session(client, service):
    given = {"user_id": "alice", "subdir": "work/site", "metadata": {"ticket": 42, "tags": ["a", None]}}
    answer = await client.post(SESSIONS, json=given)
    assert answer.status_code == 201
    session = answer.json()
    assert set(session) == FIELDS
    assert session["user_id"] == "alice"
    assert session["cwd"] == str(service.folder / "alice/work/site")
    assert (session["status"], session["message_count"]) == ("active", 0)
    assert session["metadata"] == given["metadata"]
    assert datetime.fromisoformat(session["created_at"]).tzinfo is not None
    assert uuid.UUID(session["session_id"])
    read = (await client.get(f"{SESSIONS}/{session['session_id']}")).json()
    assert read == {**session, "pending_approvals": []}


@pytest.mark.parametrize("extra", [{"metadata": None, "subdir": None, "session_id": None}, {"unknown": 1}])
async def test_nulls_and_unknown_fields_are_fine(client, extra):
    answer = await client.post(SESSIONS, json={"user_id": "a" * 64, **extra})
    assert answer.status_code == 201
    assert answer.json()["metadata"] == {}


def deep(levels):
    value: dict = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "user_id"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": "a" * 65}, "user_id"),
        ({"user_id": "a/b"}, "user_id"),
        ({"user_id": "alice\n"}, "user_id"),
        ({"user_id": "älice"}, "user_id"),
        ({"user_id": 1}, "user_id"),
        ({"user_id": "alice", "session_id": "not-a-uuid"}, "session_id"),
        ({"user_id": "alice", "subdir": "a" * 201}, "subdir"),
        ({"user_id": "alice", "subdir": "../bob"}, "subdir"),
        ({"user_id": "alice", "subdir": "a/../../bob"}, "subdir"),
        ({"user_id": "alice", "subdir": "/etc"}, "subdir"),
        ({"user_id": "alice", "subdir": "a\x00b"}, "subdir"),
        ({"user_id": "alice", "subdir": "\uff0e\uff0e/bob"}, "subdir"),
        ({"user_id": "alice", "subdir": "..\\bob"}, "subdir"),
        ({"user_id": "alice", "subdir": "\u2025/bob"}, "subdir"),
        ({"user_id": "alice", "metadata": []}, "metadata"),
        ({"user_id": "alice", "metadata": "x"}, "metadata"),
        ({"user_id": "alice", "metadata": {"a": "x" * 16_384}}, "metadata"),
        ({"user_id": "alice", "metadata": deep(17)}, "metadata"),
    ],
)
async def test_bad_values_name_their_field(client, given, field):
    answer = await client.post(SESSIONS, json=given)
    body = problem(answer, 422, "invalid_input")
    assert [error["field"] for error in body["errors"]] == [field]
    assert body["detail"].startswith(f"{field}: ")
    assert not body["errors"][0]["message"].startswith(field)


@pytest.mark.parametrize(
    "metadata", ['{"a": NaN}', '{"a": -Infinity}', '{"a": "\\ud800"}', '{"\\udfff": 1}', '{"a": 1e999}']
)
async def test_metadata_that_is_no_json_of_the_standard(client, metadata):
    body = f'{{"user_id": "alice", "metadata": {metadata}}}'
    answer = await client.post(SESSIONS, content=body, headers={"Content-Type": "application/json"})
    problem(answer, 422)


async def test_metadata_at_its_limits(client):
    given = {"deep": deep(15), "nul": "\x00", "wide": "😀" * 10, "big": 2**70}
    answer = await client.post(SESSIONS, json={"user_id": "alice", "metadata": given})
    assert answer.json()["metadata"] == given


async def test_a_link_in_the_users_folder_leads_nowhere(client, service, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (service.folder / "alice").mkdir(parents=True)
    (service.folder / "alice" / "link").symlink_to(tmp_path / "elsewhere")
    answer = await client.post(SESSIONS, json={"user_id": "alice", "subdir": "link/deeper"})
    assert problem(answer, 422)["errors"][0]["field"] == "subdir"
    assert list((tmp_path / "elsewhere").iterdir()) == []


async def test_a_chosen_id_makes_a_repeat_harmless(client):
    given = {"user_id": "alice", "session_id": UNKNOWN.upper(), "metadata": {"a": 1}}
    first = await client.post(SESSIONS, json=given)
    assert first.json()["session_id"] == UNKNOWN
    again = await client.post(SESSIONS, json={**given, "session_id": UNKNOWN})
    assert (again.status_code, again.json()) == (201, first.json())
    other = await client.post(SESSIONS, json={**given, "user_id": "bob"})
    problem(other, 409, "session_conflict")


async def test_a_repeat_does_not_look_at_the_workspace_and_a_conflict_makes_none(client, service):
    given = {"user_id": "alice", "subdir": "a", "session_id": UNKNOWN}
    first = await client.post(SESSIONS, json=given)
    (service.folder / "alice" / "a").rmdir()
    (service.folder / "alice" / "a").symlink_to("/")
    assert (await client.post(SESSIONS, json=given)).json() == first.json()
    problem(await client.post(SESSIONS, json={**given, "user_id": "bob"}), 409, "session_conflict")
    assert not (service.folder / "bob").exists()


async def test_an_idempotency_key_makes_a_repeat_harmless(client):
    key = {"Idempotency-Key": "!order-7~"}
    first = await client.post(SESSIONS, json={"user_id": "alice"}, headers=key)
    again = await client.post(SESSIONS, json={"user_id": "alice"}, headers=key)
    assert (again.status_code, again.json()) == (201, first.json())
    assert (await client.get(SESSIONS)).json() == [first.json()["session_id"]]
    problem(await client.post(SESSIONS, json={"user_id": "alice", "subdir": "b"}, headers=key), 409)
    of_another = await client.post(SESSIONS, json={"user_id": "bob"}, headers=key)
    assert of_another.json()["session_id"] != first.json()["session_id"]


@pytest.mark.parametrize("key", ["", "has space", "x" * 256, b"\xc3\xa9"])
async def test_bad_idempotency_keys(client, key):
    answer = await client.post(SESSIONS, json={"user_id": "alice"}, headers={"Idempotency-Key": key})
    assert problem(answer, 422)["errors"][0]["field"].lower() == "idempotency-key"


async def test_list_is_newest_first_by_user_and_by_pages(client, create):
    made = [await create(client, user_id=user) for user in ("alice", "bob", "alice", "alice")]
    assert (await client.get(SESSIONS)).json() == made[::-1]
    assert (await client.get(SESSIONS, params={"user_id": "bob"})).json() == [made[1]]
    assert (await client.get(SESSIONS, params={"user_id": "nobody"})).json() == []

    listed, address = [], f"{SESSIONS}?user_id=alice&limit=1"
    while address:
        page = await client.get(address)
        listed += page.json()
        address = page.links.get("next", {}).get("url")
    assert listed == [made[3], made[2], made[0]]


async def test_without_a_limit_the_list_has_every_session(client, service, create):
    made = [await create(client) for _ in range(3)]
    asked = []
    store = service.store.inner.sessions
    listed = store.list_ids

    async def many(*, limit, **query):
        """As if there were more of them than any page holds."""
        asked.append(limit)
        return await listed(limit=limit, **query)

    store.list_ids = many
    answer = await client.get(SESSIONS, params={"after": made[2]})
    assert (answer.json(), "link" in answer.headers) == (made[1::-1], False)
    assert asked == [2**31 - 1]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=10001", "limit=x", "after=x", "user_id=", "user_id=a%00b", "user_id=%27--"]
)
async def test_bad_queries_of_the_list(client, query):
    body = problem(await client.get(f"{SESSIONS}?{query}"), 422)
    assert body["errors"][0]["field"] == query.partition("=")[0]


ROUTES = [
    ("GET", ""),
    ("DELETE", ""),
    ("POST", "/resume"),
    ("POST", "/interrupt"),
    ("GET", "/events"),
    ("GET", "/events/stream"),
]


@pytest.mark.parametrize(("method", "rest"), ROUTES)
@pytest.mark.parametrize(
    "session_id", [UNKNOWN, "x", "%00", "1'--", "%ED%A0%80", "..%2F..", "a" * 5000, UNKNOWN.replace("-", "")]
)
async def test_unknown_and_malformed_ids_are_404_alike(client, method, rest, session_id):
    body = problem(await client.request(method, f"{SESSIONS}/{session_id}{rest}"), 404)
    if "%2F" not in session_id:
        assert body["type"].endswith("session_not_found")
        assert "does not exist" in body["detail"]
        assert len(body["detail"]) < 200


async def test_an_id_in_capitals_is_the_same(client, create):
    session_id = await create(client)
    assert (await client.get(f"{SESSIONS}/{session_id.upper()}")).json()["session_id"] == session_id


async def test_delete(client, create, service):
    session_id = await create(client)
    answer = await client.delete(f"{SESSIONS}/{session_id}")
    assert (answer.status_code, answer.content) == (204, b"")
    problem(await client.get(f"{SESSIONS}/{session_id}"), 404)
    problem(await client.delete(f"{SESSIONS}/{session_id}"), 404)
    assert service.runtimes.forgotten == [session_id]


async def test_resume_opens_a_closed_session(client, create, service):
    session_id = await create(client)
    now = (await service.engine.get(session_id)).last_active_at
    assert await service.store.sessions.close_unused(now.replace(year=now.year + 1)) == [session_id]
    chat = {"session_id": session_id, "message": "hi"}
    assert "/resume" in problem(await client.post("/api/v1/chat", json=chat), 409, "session_closed")["detail"]
    problem(await client.post("/api/v1/chat/stream", json=chat), 409)

    answer = await client.post(f"{SESSIONS}/{session_id}/resume")
    assert answer.status_code == 200
    assert set(answer.json()) == FIELDS
    assert answer.json()["status"] == "active"
    assert (await client.post("/api/v1/chat", json=chat)).status_code == 200
    assert (await client.post(f"{SESSIONS}/{session_id}/resume")).status_code == 200


@pytest.mark.parametrize(
    ("error", "status", "wait"),
    [
        (StorageError("the database does not answer"), 503, "5"),
        (StorageFullError("the disk is full"), 507, None),
        (WorkspaceError("the folder cannot be made"), 500, None),
        (BusyError("too many", retry_after=7), 429, "7"),
    ],
)
async def test_errors_of_the_engine(client, service, error, status, wait):
    service.store.sessions_error = error
    answer = await client.get(SESSIONS)
    assert problem(answer, status)["detail"] == str(error)
    assert answer.headers.get("retry-after") == wait
