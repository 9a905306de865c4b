"""Who asks too often is told so, and when to come again."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from tests.service.api.rig import problem, serving

from claude_agent_http.api.client_address import client_network
from claude_agent_http.api.rate_limit import RequestRates
from claude_agent_http.auth import KnownCallers
from claude_agent_http.domain.caller import Caller
from claude_agent_http.domain.rate import Policy
from claude_agent_http.engine import Rate, TurnRates
from claude_agent_http.rates import configured_rates
from claude_agent_http.settings import LimitsSettings
from claude_agent_http.system.clock import ManualClock

SESSIONS, CHAT = "/api/v1/sessions", "/api/v1/chat"
CALLERS = {
    "alice": Caller("alice", credential="key:a"),
    "alice-too": Caller("alice", credential="key:a2"),
    "bob": Caller("bob", credential="key:b"),
    "backend": Caller(acts_for_any=True, credential="key:backend"),
    "admin": Caller(is_admin=True, credential="key:admin"),
}


class Asking:
    """Requests from any address with any credential."""

    def __init__(self, api: Any, clock: ManualClock) -> None:
        self._api = api
        self.clock = clock

    async def get(
        self, who: str | None, *, path: str = SESSIONS, address: str = "192.0.2.1"
    ) -> httpx.Response:
        return await self._ask("GET", path, who, address)

    async def post(self, who: str | None, path: str, json: Any) -> httpx.Response:
        return await self._ask("POST", path, who, "192.0.2.1", json=json)

    async def _ask(
        self, method: str, path: str, who: str | None, address: str, **rest: Any
    ) -> httpx.Response:
        headers = {} if who is None else {"Authorization": f"Bearer {who}"}
        transport = httpx.ASGITransport(self._api, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, headers=headers, **rest)

    async def allowed(self, who: str | None, **where: str) -> int:
        """How many requests go through now."""
        for count in range(50):
            if (await self.get(who, **where)).status_code == 429:
                return count
        return 50


@asynccontextmanager
async def asking(folder: Any, *, known: bool = True, **quotas: int) -> AsyncIterator[Asking]:
    clock = ManualClock()

    def rate(name: str) -> Rate | None:
        return Rate(Policy(name, quotas[name]), clock) if name in quotas else None

    rates = RequestRates(rate("requests"), rate("failures"))
    turns = TurnRates(rate("turns"), rate("tokens"))
    who = KnownCallers(CALLERS) if known else None
    async with serving(folder, authenticator=who, rates=rates, turns=turns) as service:
        yield Asking(service.api, clock)


async def test_a_user_has_one_limit_however_many_keys(tmp_path):
    async with asking(tmp_path, requests=4) as ask:
        for who in ("alice", "alice-too"):
            for _ in range(2):
                assert (await ask.get(who)).status_code == 200
        for who in ("alice", "alice-too"):
            body = problem(await ask.get(who), 429, "rate_limited")
            assert "4 requests in 60 s" in body["detail"]
        assert await ask.allowed("bob") == 4


async def test_the_answer_says_where_the_caller_stands(tmp_path):
    async with asking(tmp_path, requests=4) as ask:
        first = await ask.get("alice")
        assert first.headers["RateLimit-Policy"] == '"requests";q=4;w=60'
        assert first.headers["RateLimit"] == '"requests";r=3;t=15'
        await ask.allowed("alice")
        refused = await ask.get("alice")
        assert refused.headers["RateLimit"] == '"requests";r=0;t=15'
        assert refused.headers["Retry-After"] == "15"
        ask.clock.advance(15)
        assert await ask.allowed("alice") == 1


async def test_who_serves_many_users_is_not_limited_and_an_admin_is(tmp_path):
    async with asking(tmp_path, requests=4) as ask:
        assert await ask.allowed("backend") == 50
        assert await ask.allowed("admin", path="/api/v1/users/x") == 4


async def test_without_authentication_an_address_is_the_caller(tmp_path):
    async with asking(tmp_path, known=False, requests=4) as ask:
        assert await ask.allowed(None) == 4
        assert await ask.allowed(None, address="192.0.2.2") == 4
        assert await ask.allowed(None, address="2001:db8::1") == 4
        assert await ask.allowed(None, address="2001:db8::2") == 0
        assert await ask.allowed(None, address="2001:db8:0:1::2") == 4


async def test_probes_and_documentation_are_never_limited(tmp_path):
    async with asking(tmp_path, requests=1, failures=1) as ask:
        await ask.allowed(None)
        await ask.allowed("alice")
        for path in ("/livez", "/readyz", "/health", "/openapi.json"):
            assert await ask.allowed(None, path=path) == 50


async def test_who_guesses_keys_is_stopped(tmp_path):
    async with asking(tmp_path, failures=3) as ask:
        for guess in ("guess-1", "guess-2", "guess-3"):
            problem(await ask.get(guess), 401)
        for guess in ("guess-4", "guess-1"):
            problem(await ask.get(guess), 429, "rate_limited")
        problem(await ask.get("guess-4", address="192.0.2.2"), 401)
        ask.clock.advance(20)
        assert await ask.allowed("guess-5") == 1


async def test_a_guesser_shuts_out_nobody_who_is_known_or_comes_for_the_first_time(tmp_path):
    async with asking(tmp_path, failures=3) as ask:
        assert (await ask.get("alice")).status_code == 200
        for number in range(10):
            await ask.get(f"guess-{number}")
        for who in ("alice", "alice-too", "bob"):
            assert (await ask.get(who)).status_code == 200
        problem(await ask.get("guess-0"), 429)


async def test_who_shows_nothing_is_asked_for_a_credential_however_often(tmp_path):
    async with asking(tmp_path, failures=3) as ask:
        for _ in range(10):
            problem(await ask.get(None), 401, "not_authenticated")
        assert await ask.allowed("guess") == 3
        problem(await ask.get(None), 401, "not_authenticated")


async def test_strangers_fill_neither_the_log_nor_the_audit(tmp_path, caplog):
    async with asking(tmp_path, failures=3) as ask:
        for who in ("guess", None):
            for _ in range(10):
                await ask.post(who, SESSIONS, {})
        audit = (await ask.get("admin", path="/api/v1/admin/audit")).json()["data"]
    assert [one["status"] for one in audit] == [401] * 6
    assert [one.getMessage() for one in caplog.records].count("a credential was refused") == 3


async def test_what_is_tried_where_much_was_refused_is_known_as_that(tmp_path):
    told = []

    class Noting(KnownCallers):
        async def caller(self, credential: str | None, *, suspect: bool = False) -> Caller:
            told.append((credential, suspect))
            return await super().caller(credential, suspect=suspect)

    rates = RequestRates(strangers=Rate(Policy("failures", 2), ManualClock()))
    async with serving(tmp_path, authenticator=Noting(CALLERS), rates=rates) as service:
        ask = Asking(service.api, ManualClock())
        for _ in range(3):
            await ask.get("guess")
        await ask.get("alice")
        await ask.get("alice", address="192.0.2.2")
    assert told == [("guess", False)] * 2 + [("guess", True), ("alice", True), ("alice", False)]


async def test_a_key_that_was_good_and_is_revoked_is_counted_like_others(tmp_path):
    callers = KnownCallers(CALLERS)
    rates = RequestRates(strangers=Rate(Policy("failures", 2), ManualClock()))
    async with serving(tmp_path, authenticator=callers, rates=rates) as service:
        ask = Asking(service.api, ManualClock())
        assert (await ask.get("alice")).status_code == 200
        del callers.callers["alice"]
        assert await ask.allowed("alice") == 2


async def test_refused_turns_say_which_limit_is_reached(tmp_path):
    async with asking(tmp_path, requests=50, turns=1) as ask:
        made = await ask.post("backend", SESSIONS, {"user_id": "alice"})
        chat = {"session_id": made.json()["session_id"], "message": "hi"}
        assert (await ask.post("alice", CHAT, chat)).status_code == 200
        for who in ("alice", "backend"):  # the limit is the user's, whoever asks for it
            refused = await ask.post(who, CHAT, chat)
            problem(refused, 429, "rate_limited")
            assert refused.headers["RateLimit"] == '"turns";r=0;t=60'
            assert refused.headers["Retry-After"] == "60"


@pytest.mark.parametrize(
    ("given", "asks_who", "wanted"),
    [
        ({}, True, (600, 60, 60, 1_000_000)),
        ({}, False, (None, None, None, None)),
        ({"requests_per_minute": 0, "failures_per_minute": 0}, True, (None, None, 60, 1_000_000)),
        ({"turns_per_minute": 0, "tokens_per_minute": 5}, True, (600, 60, None, 5)),
        ({"requests_per_minute": 7, "turns_per_minute": 8}, False, (7, None, 8, None)),
    ],
)
def test_what_the_settings_choose(given, asks_who, wanted):
    rates = configured_rates(LimitsSettings(**given), ManualClock(), asks_who=asks_who)
    made = (rates.requests.callers, rates.requests.strangers, rates.turns.turns, rates.turns.tokens)
    assert tuple(None if one is None else one.policy.quota for one in made) == wanted


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("", ""),
    ],
)
def test_which_addresses_are_one_client(address, network):
    assert client_network({"client": (address, 5)}) == network


def test_a_client_that_nobody_knows_has_no_address():
    assert client_network({"client": None}) == ""
