"""A real service that takes tokens of a real issuer."""

import asyncio

import httpx
import pytest
from tests.service.auth.issuer import AUDIENCE, StandInIssuer, rsa_key
from tests.service.e2e.service_process import Services
from tests.waiting import until

from claude_agent_http.system.loopback import LoopbackServer

pytestmark = [pytest.mark.tier("cli", "linux")]
SESSIONS = "/api/v1/sessions"


async def test_each_bearer_has_sessions_of_their_own(services: Services):
    issuer = StandInIssuer([rsa_key("one")])
    async with LoopbackServer(issuer.app()) as server:
        issuer.url = server.url
        service = await asyncio.to_thread(
            services.start,
            CLAUDE_AGENT_AUTH="oidc",
            CLAUDE_AGENT_AUTH_OIDC_ISSUER=issuer.url,
            CLAUDE_AGENT_AUTH_OIDC_AUDIENCE=AUDIENCE,
            CLAUDE_AGENT_AUTH_OIDC_ADMIN_CLAIM="groups=admins",
            CLAUDE_AGENT_LIMITS_FAILURES_PER_MINUTE="0",  # It asks on until a new key is known.
        )
        async with httpx.AsyncClient(base_url=service.url, trust_env=False, timeout=60) as client:

            async def ask(token: str, method: str = "GET", path: str = SESSIONS, **given) -> httpx.Response:
                headers = {"Authorization": f"Bearer {token}"}
                return await client.request(method, path, headers=headers, **given)

            alice, bob = issuer.token(sub="alice"), issuer.token(sub="bob")
            session = (await ask(alice, "POST", json={})).json()
            assert session["user_id"] == "alice"
            chat = {"session_id": session["session_id"], "message": "count to 3"}
            assert (await ask(alice, "POST", "/api/v1/chat", json=chat)).json()["text"] == "1 2 3"
            assert (await ask(bob, "POST", "/api/v1/chat", json=chat)).status_code == 404
            assert (await ask(bob)).json() == []
            assert (await ask(issuer.token(exp=1))).status_code == 401
            assert (await ask(bob, path="/api/v1/admin/keys")).status_code == 403

            admin = issuer.token(sub="eve", groups=["admins"])
            wanted = {"name": "nightly", "act_as": True}
            key = (await ask(admin, "POST", "/api/v1/admin/keys", json=wanted)).json()["key"]
            assert (await ask(key)).json() == [session["session_id"]]

            issuer.keys = [rsa_key("two")]

            async def knows_the_new_key() -> bool:
                return (await ask(issuer.token(sub="bob"))).status_code == 200

            await until(knows_the_new_key, 20)
            assert (await ask(alice)).status_code == 401
        assert alice.split(".")[1] not in service.log
