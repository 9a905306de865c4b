"""Erasing a user over HTTP."""

import asyncio
import logging
from datetime import UTC, datetime

import pytest
from tests.service.api.rig import problem, take

from claude_agent_http.domain.api_key import ApiKey, KeyScope
from claude_agent_http.domain.errors import FilesElsewhereError, NotDeletedError, StorageError, WorkspaceError
from claude_agent_http.runtime.fake import Hang, Say

USERS = "/api/v1/users"
SESSIONS = "/api/v1/sessions"


async def test_erase_says_what_went_and_can_be_repeated(client, create, service, caplog):
    mine = [await create(client, user_id="alice", subdir=subdir) for subdir in ("a", "b")]
    others = await create(client, user_id="bob")
    assert (
        await client.post("/api/v1/chat", json={"session_id": mine[0], "message": "hi"})
    ).status_code == 200
    (service.folder / "alice" / "a" / "file").touch()

    with caplog.at_level(logging.INFO):
        answer = await client.delete(f"{USERS}/alice")
    assert answer.status_code == 200
    assert answer.json() == {"user_id": "alice", "sessions_deleted": 2, "files_deleted": 1}
    [line] = [one for one in caplog.records if one.getMessage() == "request"]
    assert line.user_id == "alice"

    assert (await client.get(SESSIONS)).json() == [others]
    for session_id in mine:
        problem(await client.get(f"{SESSIONS}/{session_id}/events"), 404, "session_not_found")
    assert [path.name for path in service.folder.iterdir()] == ["bob"]
    for user in ("alice", "nobody"):
        answer = await client.delete(f"{USERS}/{user}")
        assert answer.status_code == 200
        assert answer.json() == {"user_id": user, "sessions_deleted": 0, "files_deleted": 0}
    assert await create(client, user_id="alice") not in mine


async def test_the_users_keys_go_too(client, service):
    keys = service.store.api_keys
    for number, user_id in enumerate(["alice", "bob"]):
        await keys.add(ApiKey(str(number), "a key", "digest", KeyScope(user_id), datetime.now(UTC)))
    assert (await client.delete(f"{USERS}/alice")).status_code == 200
    assert [key.scope.user_id for key in await keys.page(limit=9)] == ["bob"]


async def test_a_stream_ends_with_the_deletion_as_after_a_sessions_delete(wire, create, service):
    session_id = await create(wire, user_id="alice")
    service.says["hang"] = [Say("well"), Hang()]
    chat = {"session_id": session_id, "message": "hang"}
    asking = asyncio.create_task(wire.post("/api/v1/chat", json=chat))
    async with wire.stream("GET", f"{SESSIONS}/{session_id}/events/stream", params={"after": 0}) as stream:
        await service.until_logged(session_id, "agent.message")
        assert (await wire.delete(f"{USERS}/alice")).json()["sessions_deleted"] == 1
        last = (await take(stream, lambda sent: sent.data["type"] == "session.deleted"))[-1]
    assert last.data["session_id"] == session_id
    assert (await asyncio.wait_for(asking, 5)).status_code >= 400


@pytest.mark.parametrize(
    "user_id",
    [
        "a" * 65,
        "a.b",
        ".sessions",
        ".hidden",
        "%00",
        "alice%0A",
        "%C3%A4lice",
        "a%5Cb",
        "%EF%BC%8E",
        "a%20",
        "...",
    ],
)
async def test_bad_users_are_refused_and_nothing_is_removed(client, create, service, user_id):
    session_id = await create(client, user_id="alice")
    (service.folder / ".sessions").mkdir()
    before = sorted(service.folder.rglob("*"))
    body = problem(await client.delete(f"{USERS}/{user_id}"), 422, "invalid_input")
    assert [error["field"] for error in body["errors"]] == ["user_id"]
    assert (await client.get(SESSIONS)).json() == [session_id]
    assert sorted(service.folder.rglob("*")) == before


@pytest.mark.parametrize("path", ["..%2F..", "alice%2F..", "%2e%2e%2falice", "alice/x", ""])
async def test_a_path_is_no_user(client, create, service, path):
    await create(client, user_id="alice")
    problem(await client.delete(f"{USERS}/{path}"), 404)
    assert (service.folder / "alice").is_dir()


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (WorkspaceError("not all files could be removed: /users/alice/x"), 500, "workspace_failed"),
        (FilesElsewhereError("6f1ed002", "/users/alice", "ask another"), 503, "files_elsewhere"),
        (NotDeletedError("6f1ed002", "another replica has not ended its agent"), 503, "not_deleted"),
    ],
)
async def test_what_stays_is_no_success(client, create, service, error, status, kind):
    await create(client, user_id="alice")
    service.runtimes.forget_failure = error
    assert problem(await client.delete(f"{USERS}/alice"), status, kind)["detail"] == str(error)
    service.runtimes.forget_failure = None
    assert (await client.delete(f"{USERS}/alice")).status_code == 200


async def test_without_a_database_nothing_is_removed(client, create, service):
    await create(client, user_id="alice")
    service.store.sessions_error = StorageError("the database does not answer")
    problem(await client.delete(f"{USERS}/alice"), 503, "storage_failed")
    assert (service.folder / "alice").is_dir()
