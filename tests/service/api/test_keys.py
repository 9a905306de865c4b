"""API keys over HTTP, for admins."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from tests.service.api.rig import problem, serving

from claude_agent_http.auth import Callers, StoredKeys
from claude_agent_http.domain.api_key import KeyScope
from claude_agent_http.engine import KeyRing
from claude_agent_http.store.memory_api_keys import MemoryApiKeys
from claude_agent_http.system.clock import ManualClock
from claude_agent_http.system.ids import RandomIds

KEYS = "/api/v1/admin/keys"
FIELDS = {
    "id",
    "name",
    "user_id",
    "act_as",
    "admin",
    "created_at",
    "expires_at",
    "last_used_at",
    "revoked_at",
}


@pytest.fixture
def clock():
    return ManualClock(datetime.now(UTC))


@pytest.fixture
def keys():
    return MemoryApiKeys()


@pytest.fixture
def stored(keys, clock):
    return StoredKeys(keys, clock, lambda _id, _at: None)


@pytest.fixture
def ring(keys, clock, stored):
    return KeyRing(keys, clock, RandomIds(), changed=stored.forget)


@pytest.fixture
async def service(tmp_path, ring, stored):
    async with serving(tmp_path / "users", authenticator=Callers([stored]), key_ring=ring) as made:
        yield made


@pytest.fixture
async def admin(ring, client):
    """The client, as an admin that is nobody's."""
    issued = await ring.create("admin", KeyScope(is_admin=True))
    client.headers["X-Api-Key"] = issued.text
    return client


async def test_a_key_is_shown_once_and_opens_what_its_scope_says(admin):
    answer = await admin.post(KEYS, json={"name": "ci", "user_id": "alice"})
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    created = answer.json()
    assert set(created) == FIELDS | {"key"}
    key = created.pop("key")
    assert key.startswith(f"cah_{created['id']}_")
    assert (created["name"], created["user_id"], created["act_as"], created["admin"]) == (
        "ci",
        "alice",
        False,
        False,
    )
    listed = await admin.get(KEYS)
    assert created in listed.json()["data"]
    assert key not in listed.text
    hers = {"X-Api-Key": key}
    made = await admin.post("/api/v1/sessions", json={}, headers=hers)
    assert made.json()["user_id"] == "alice"
    problem(await admin.get(KEYS, headers=hers), 403, "forbidden")


async def test_a_revoked_key_is_dead_at_once_and_stays_in_the_list(admin):
    created = (await admin.post(KEYS, json={"name": "ci", "act_as": True})).json()
    its = {"X-Api-Key": created["key"]}
    assert (await admin.get("/api/v1/sessions", headers=its)).status_code == 200
    for _ in range(2):
        assert (await admin.delete(f"{KEYS}/{created['id']}")).status_code == 204
    body = problem(await admin.get("/api/v1/sessions", headers=its), 401, "not_authenticated")
    assert "revoked" in body["detail"]
    listed = (await admin.get(KEYS)).json()["data"]
    assert next(key for key in listed if key["id"] == created["id"])["revoked_at"] is not None
    problem(await admin.delete(f"{KEYS}/unknown"), 404, "api_key_not_found")


async def test_a_key_ends_at_its_time(admin, clock):
    ends = (clock.now() + timedelta(hours=1)).astimezone().isoformat()
    created = (await admin.post(KEYS, json={"name": "ci", "act_as": True, "expires_at": ends})).json()
    its = {"X-Api-Key": created["key"]}
    assert (await admin.get("/api/v1/sessions", headers=its)).status_code == 200
    clock.advance(3600)
    assert "expired" in problem(await admin.get("/api/v1/sessions", headers=its), 401)["detail"]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"user_id": "alice"}, "name"),
        ({"name": "", "user_id": "alice"}, "name"),
        ({"name": " ", "user_id": "alice"}, "name"),
        ({"name": "a\x1b[31m", "user_id": "alice"}, "name"),
        ({"name": "a\u2028b", "user_id": "alice"}, "name"),
        ({"name": "ci"}, "user_id"),
        ({"name": "ci", "user_id": "../bob"}, "user_id"),
        ({"name": "ci", "user_id": "alice", "act_as": True}, "user_id"),
        ({"name": "ci", "admin": True, "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "ci", "admin": True, "expires_at": "2099-01-01T00:00:00"}, "expires_at"),
        ({"name": "ci", "admin": True, "expires_at": "soon"}, "expires_at"),
        ({"name": "ci", "admin": True, "expires_at": "9999-12-31T23:59:59-23:00"}, "expires_at"),
        ({"name": "ci", "admin": True, "expires_at": 4_100_000_000}, "expires_at"),
    ],
)
async def test_bad_values_name_their_field_and_make_nothing(admin, given, field):
    body = problem(await admin.post(KEYS, json=given), 422, "invalid_input")
    assert [error["field"] for error in body["errors"]] == [field]
    assert len((await admin.get(KEYS)).json()["data"]) == 1


async def test_the_list_goes_by_pages(admin):
    for number in range(4):
        await admin.post(KEYS, json={"name": str(number), "act_as": True})
    seen, query = [], {"limit": 2}
    while True:
        page = (await admin.get(KEYS, params=query)).json()
        seen += [key["name"] for key in page["data"]]
        if page["next_page"] is None:
            break
        query["page"] = page["next_page"]
    assert sorted(seen) == ["0", "1", "2", "3", "admin"]
    unknown = problem(await admin.get(KEYS, params={"page": "unknown"}), 422)
    assert unknown["errors"] == [
        {"field": "page", "message": "is no cursor of ours; take it from `next_page`"}
    ]
    problem(await admin.get(KEYS, params={"limit": 0}), 422)


@pytest.mark.parametrize(("method", "path"), [("POST", KEYS), ("GET", KEYS), ("DELETE", f"{KEYS}/x")])
async def test_where_nobody_is_asked_nobody_can_leave_a_key_for_later(tmp_path, method, path):
    async with serving(tmp_path) as service:
        transport = httpx.ASGITransport(service.api)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            given = {"name": "ci", "act_as": True} if method == "POST" else None
            body = problem(await client.request(method, path, json=given), 403, "forbidden")
            assert "auth.mode is none" in body["detail"]
        assert await service.store.api_keys.page(limit=9) == []


async def test_no_key_is_logged(admin, caplog):
    with caplog.at_level("DEBUG"):
        created = (await admin.post(KEYS, json={"name": "ci", "user_id": "alice"})).json()
        await admin.get("/api/v1/sessions", headers={"X-Api-Key": created["key"]})
        await admin.get("/api/v1/sessions", headers={"X-Api-Key": created["key"][:-1] + "0"})
    assert created["key"].split("_")[2][:20] not in caplog.text
    [line] = [one for one in caplog.records if getattr(one, "key_id", None)]
    assert (line.key_id, line.user_id) == (created["id"], "alice")
