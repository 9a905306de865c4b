"""Budgets and allowed models, by what the real CLI and its caller see of them."""

import asyncio
import json

import pytest
from tests.service.e2e.client import Client, bash, script
from tests.service.e2e.conftest import Storage
from tests.service.e2e.service_process import Services
from tests.waiting import until

pytestmark = pytest.mark.tier("cli", "linux")

COSTLY = {"input_tokens": 900, "output_tokens": 100}
STEPS = [
    {**bash("echo one"), "usage": COSTLY},
    {**bash("touch never"), "usage": COSTLY},
    {"text": "never said"},
]


def types_of(turn: list[dict]) -> list[str]:
    return [event["type"] for event in turn]


@pytest.mark.in_proofs(storage="postgresql")
async def test_a_budget_that_is_reached_in_a_turn_ends_it(services: Services, storage: Storage) -> None:
    """The first request is within the budget, the second is refused; a restart does not forget."""
    budget = {"CLAUDE_AGENT_GATEWAY_SESSION_BUDGET_TOKENS": "1000"}
    service = services.start(**storage.env, **budget)
    async with Client(service.url) as client:
        session = await client.create("ann")
        ended = await client.chat(session, script(*STEPS))
        assert ended.status_code == 402
        assert ended.json()["type"].endswith(":budget_reached")
        assert "1000 tokens" in ended.json()["detail"]
        turn = await client.last_turn(session)
        (error,) = (event["error"] for event in turn if event["type"] == "session.error")
        assert (error["type"], error["message"]) == ("budget_reached_error", ended.json()["detail"])
        assert types_of(turn)[-3:] == ["session.error", "session.usage", "session.status_idle"]
        assert turn[-1]["stop_reason"]["type"] == "budget_reached"
        assert not list(service.users.rglob("never"))
        used = (await client.http.get(f"/api/v1/sessions/{session}/usage")).json()
        assert (used["total"]["requests"], used["total"]["input_tokens"]) == (1, 900)
        assert (await client.chat(session, "more")).status_code == 402
        assert await client.say(await client.create("ann"), "hello")
    service.stop()
    service.start()
    async with Client(service.url) as client:
        assert (await client.chat(session, "more")).status_code == 402
        assert await client.last_turn(session) == turn


async def test_a_days_budget_is_429_until_the_next_day(services: Services) -> None:
    prices = json.dumps({"*": {"input": 1, "output": 1, "cache_read": 1, "cache_write": 1}})
    service = services.start(
        CLAUDE_AGENT_GATEWAY_USER_DAY_BUDGET_USD="0.0009", CLAUDE_AGENT_GATEWAY_PRICES=prices
    )
    async with Client(service.url) as client:
        session = await client.create("ann")
        in_the_turn = await client.chat(session, script(*STEPS))
        before_it = await client.chat(session, "more")
        for refused in (in_the_turn, before_it):
            assert refused.status_code == 429
            assert refused.json()["type"].endswith(":day_budget_reached")
            assert 0 < int(refused.headers["retry-after"]) <= 86_400
        error = (await client.last_turn(session))[-3]["error"]
        assert error["type"] == "day_budget_reached_error"
        assert await client.say(await client.create("bob"), "hello")
        used = (await client.http.get("/api/v1/usage?user_id=ann")).json()
        assert used["total"]["cost_micro_usd"] == 1000


@pytest.mark.parametrize(
    "storage", [pytest.param("postgresql", marks=pytest.mark.tier("postgres"))], indirect=True
)
async def test_replicas_share_a_budget(services: Services, storage: Storage) -> None:
    """What is spent at one is known to the other within two seconds, as `Budgets` promises."""
    settings = {
        **storage.env,
        "CLAUDE_AGENT_USER_BASE_DIR": str(services.folder()),
        "CLAUDE_AGENT_GATEWAY_USER_DAY_BUDGET_TOKENS": "1000",
    }
    here, there = (services.start(**settings, CLAUDE_AGENT_REPLICAS="2") for _ in range(2))
    async with Client(here.url) as one, Client(there.url) as other:
        before = await other.create("ann")
        assert await other.say(before, "hello")  # What was spent then is summed up there from now on.
        assert (await one.chat(await one.create("ann"), script(*STEPS))).status_code == 429
        spent = asyncio.get_running_loop().time()

        async def is_refused() -> bool:
            return (await other.chat(before, "more")).status_code == 429

        await until(is_refused, 10)
        assert asyncio.get_running_loop().time() - spent < 3  # With a turn that had begun before.
        assert await other.say(await other.create("bob"), "hello")


async def test_a_model_that_is_not_allowed_ends_the_turn_with_a_clear_error(services: Services) -> None:
    service = services.start(
        CLAUDE_AGENT_GATEWAY_ALLOWED_MODELS="claude-haiku-*", ANTHROPIC_MODEL="claude-opus-5-5"
    )
    async with Client(service.url) as client:
        session = await client.create("ann")
        answer = await client.chat(session, "hello")
        assert answer.status_code == 502
        assert "'claude-opus-5-5' is not allowed here" in answer.json()["detail"]
        turn = await client.last_turn(session)
        (error,) = (event["error"] for event in turn if event["type"] == "session.error")
        assert error["type"] == "model_not_allowed_error"
        assert turn[-1]["stop_reason"]["type"] == "retries_exhausted"
