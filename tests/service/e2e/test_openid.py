"""A real service that takes the tokens of an OpenID issuer on this machine."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from tests.service.auth.issuer import AUDIENCE, StandInIssuer, ec_key, rsa_key
from tests.service.e2e.client import Client
from tests.service.e2e.service_process import ServiceProcess, Services
from tests.waiting import until

from claude_agent_http.system.loopback import LoopbackServer

pytestmark = [pytest.mark.tier("cli", "linux")]
SESSIONS, CHAT = "/api/v1/sessions", "/api/v1/chat"
ADMINS = {"roles": ["agents-admin"]}


@pytest.fixture
async def issuer() -> AsyncIterator[StandInIssuer]:
    made = StandInIssuer([rsa_key("first")])
    async with LoopbackServer(made.app()) as server:
        made.url = server.url
        yield made


def settings(issuer: str) -> dict[str, str]:
    return {
        "CLAUDE_AGENT_AUTH": "oidc",
        "CLAUDE_AGENT_AUTH_OIDC_ISSUER": issuer,
        "CLAUDE_AGENT_AUTH_OIDC_AUDIENCE": AUDIENCE,
        "CLAUDE_AGENT_AUTH_OIDC_ADMIN_CLAIM": "realm_access.roles=agents-admin",
        "CLAUDE_AGENT_LIMITS_FAILURES_PER_MINUTE": "5",
    }


class People:
    """Ask the service with tokens, each request over a connection of its own."""

    def __init__(self, service: ServiceProcess) -> None:
        self._service = service

    async def ask(self, token: str, path: str = SESSIONS, method: str = "GET", **rest: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=self._service.url, timeout=60, trust_env=False) as client:
            return await client.request(method, path, headers=headers, **rest)

    async def status(self, token: str, path: str = SESSIONS) -> int:
        return (await self.ask(token, path)).status_code


async def test_tokens_open_what_is_their_users_and_nothing_else(services: Services, issuer: StandInIssuer):
    service = await asyncio.to_thread(services.start, **settings(issuer.url))
    people = People(service)
    hers, bobs, root = issuer.token(), issuer.token(sub="bob"), issuer.token(sub="root", realm_access=ADMINS)

    made = await people.ask(hers, method="POST", json={})
    assert (made.status_code, made.json()["user_id"]) == (201, "alice")
    session_id = made.json()["session_id"]
    said = await people.ask(hers, CHAT, "POST", json={"session_id": session_id, "message": "count to 3"})
    assert said.json()["text"] == "1 2 3"

    refreshed = issuer.token(jti="refreshed")
    assert refreshed != hers
    assert (await people.ask(refreshed)).json() == [session_id]
    for rest in ("", "/events", "/events/stream", "/files"):
        for other in (bobs, root):
            assert await people.status(other, f"{SESSIONS}/{session_id}{rest}") == 404
    assert (await people.ask(bobs)).json() == []
    assert await people.status(bobs, "/api/v1/admin/audit") == 403

    audit = (await people.ask(root, "/api/v1/admin/audit", params={"user_id": "alice"})).json()["data"]
    assert {one["credential"] for one in audit} == {"oidc:alice"}
    for token in (hers, bobs, root):
        assert token.split(".")[2] not in service.log


async def test_bad_tokens_are_refused_and_shut_out_nobody(services: Services, issuer: StandInIssuer):
    people = People(await asyncio.to_thread(services.start, **settings(issuer.url)))
    now = int(time.time())
    bad = [
        issuer.token(exp=now - 60),
        issuer.token(aud="another service"),
        issuer.token(iss="https://other.example"),
        issuer.token(rsa_key("first")),
        issuer.token(sub="../bob"),
    ]
    for token in bad:
        answer = await people.ask(token)
        assert answer.status_code == 401
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert [await people.status(token) for token in bad] == [429] * 5
    for user in ("alice", "bob"):
        assert await people.status(issuer.token(sub=user)) == 200


async def test_keys_rotate_and_streams_end_with_theirs(services: Services, issuer: StandInIssuer):
    env = settings(issuer.url) | {"CLAUDE_AGENT_LIMITS_FAILURES_PER_MINUTE": "0"}
    service = await asyncio.to_thread(services.start, **env)
    people, old = People(service), issuer.token()
    session_id = (await people.ask(old, method="POST", json={})).json()["session_id"]
    async with Client(service.url) as client:
        client.http.headers["Authorization"] = f"Bearer {old}"
        assert await client.say(session_id, "count to 3") == "1 2 3"
        async with client.follow(session_id) as reader:
            await reader.until_type("session.status_idle")
            issuer.keys = [ec_key("second")]
            new = issuer.token()

            async def is_taken() -> bool:
                """The issuer is asked for a key that is not known at most every 10 s."""
                await asyncio.sleep(0.2)
                return await people.status(new) == 200

            await until(is_taken, 20)
            assert await people.status(old) == 401
            assert await reader.until_ended(20) == "closed"
    assert (await people.ask(new)).json() == [session_id]
