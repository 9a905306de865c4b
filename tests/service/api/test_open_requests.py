"""How many requests of one caller may be under way, streams among them."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import httpx
from tests.service.api.rig import problem, serving
from tests.waiting import until

from claude_agent_http.api.rate_limit import RequestRates
from claude_agent_http.auth import KnownCallers
from claude_agent_http.domain.caller import Caller
from claude_agent_http.rates import configured_rates
from claude_agent_http.settings import LimitsSettings
from claude_agent_http.system.clock import ManualClock
from claude_agent_http.system.loopback import LoopbackServer

SESSIONS = "/api/v1/sessions"
CALLERS = {
    "alice": Caller("alice", credential="key:a"),
    "alice-too": Caller("alice", credential="key:a2"),
    "bob": Caller("bob", credential="key:b"),
    "backend": Caller(acts_for_any=True, credential="key:backend"),
}


def shown(who: str) -> Any:
    return {"headers": {"X-Api-Key": who}}


async def test_the_streams_of_one_user_leave_the_others_theirs(tmp_path):
    options: dict[str, Any] = {"authenticator": KnownCallers(CALLERS), "rates": RequestRates(at_once=3)}
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(serving(tmp_path, **options))
        server = await stack.enter_async_context(LoopbackServer(service.api))
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=server.url, timeout=10))
        stack.push_async_callback(service.engine.stop, 0)
        made = await client.post(SESSIONS, json={}, **shown("alice"))
        stream = f"{SESSIONS}/{made.json()['session_id']}/events/stream"
        async with AsyncExitStack() as streams:
            for who in ("alice", "alice-too", "alice"):
                opened = await streams.enter_async_context(client.stream("GET", stream, **shown(who)))
                assert opened.status_code == 200
            for address in (stream, SESSIONS):
                refused = problem(await client.get(address, **shown("alice-too")), 429, "busy")
                assert "limit of 3 requests" in refused["detail"]
            assert (await client.get("/livez", **shown("alice"))).status_code == 200
            for who in ("bob", "backend"):
                assert (await client.get(SESSIONS, **shown(who))).status_code == 200
            for _ in range(5):
                await streams.enter_async_context(client.stream("GET", stream, **shown("backend")))

        async def free() -> bool:
            return (await client.get(SESSIONS, **shown("alice"))).status_code == 200

        await until(free)
        answers = await asyncio.gather(*(client.get(SESSIONS, **shown("bob")) for _ in range(3)))
        assert [one.status_code for one in answers] == [200] * 3


def test_what_the_settings_choose():
    def chosen(given: int | None, *, asks_who: bool = True, connections: int = 0) -> int | None:
        limits = LimitsSettings(requests_at_once=given)
        rates = configured_rates(limits, ManualClock(), asks_who=asks_who, connections=connections)
        return rates.requests.at_once

    assert [chosen(None), chosen(None, connections=10_000), chosen(None, connections=128)] == [100, 100, 32]
    assert [chosen(None, connections=2), chosen(0), chosen(7, connections=8)] == [1, None, 7]
    assert [chosen(None, asks_who=False), chosen(7, asks_who=False)] == [None, 7]
