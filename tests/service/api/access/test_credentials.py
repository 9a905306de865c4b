"""Where a credential may stand, and what is said to who shows none that is good."""

import httpx
import pytest
from tests.service.api.access.callers import CALLERS, CHAT, SESSIONS, shown
from tests.service.api.rig import problem, serving

from claude_agent_http.auth import KnownCallers
from claude_agent_http.domain.caller import Caller
from claude_agent_http.domain.errors import StorageError


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
