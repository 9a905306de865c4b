"""What is counted of answers that pass, and which requests do not pass any more."""

import asyncio
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs
from tests.service.gateway.conftest import ASKED, PATH, Agent, Model, Rig, Say
from tests.service.gateway.test_told import DELTA, START, STREAM
from tests.waiting import until

from claude_agent_http.domain.errors import StorageError
from claude_agent_http.domain.turn import ErrorKind
from claude_agent_http.domain.usage import Budget, BudgetLimits, DayUsage, Spending
from claude_agent_http.gateway import Price, Prices

MESSAGE = {"type": "message", "usage": {"input_tokens": 100, "output_tokens": 20}}
SPENT = Spending(1, 100, 20, 0, 0, 300)
PRICED = Prices([("claude-test", Price(Decimal(1), Decimal(10), Decimal("0.1"), Decimal(2)))])


@pytest.fixture
def rig(rig: Rig, model: Model) -> Rig:
    rig.prices = PRICED
    model.body = json.dumps(MESSAGE).encode()
    return rig


async def used(rig: Rig, agent: Agent) -> dict[str, Spending]:
    await rig.ledger.settle(5)
    return await rig.store.usage.of_session(agent.session.id)


def asked_for(model: str) -> dict[str, Any]:
    return {"json": ASKED | {"model": model}}


async def test_a_plain_answer_counts_for_session_user_model_and_day(rig: Rig):
    await rig.start()
    async with rig.agent("ann") as agent:
        await agent.ask()
        await agent.ask()
        await agent.ask(**asked_for("claude-other"))
        other = Spending(1, 100, 20, 0, 0, 0)
        assert await used(rig, agent) == {"claude-other": other, "claude-test": SPENT + SPENT}
    today = datetime.now(UTC).date()
    assert await rig.store.usage.of_days(today, today, user_id="ann") == [
        DayUsage(today, "claude-other", other),
        DayUsage(today, "claude-test", SPENT + SPENT),
    ]


async def test_an_answer_that_tells_nothing_counts_all_the_same(rig: Rig, model: Model):
    model.body = json.dumps({"type": "message", "content": "x" * 400}).encode()
    await rig.start()
    with capture_logs() as logs:
        async with rig.agent() as agent:
            for _ in range(2):
                await agent.ask()
            spent = (await used(rig, agent))["claude-test"]
    assert (spent.requests, spent.output_tokens) == (2, 2 * (len(model.body) // 4))
    assert spent.input_tokens > 0
    assert [told["model"] for told in logs if "tokens" in told["event"]] == ["claude-test"]


async def test_a_stream_counts(rig: Rig, model: Model):
    model.headers, model.body = [("content-type", "text/event-stream")], STREAM
    await rig.start()
    async with rig.agent() as agent:
        assert (await agent.ask()).content == STREAM
        assert await used(rig, agent) == {"claude-test": Spending(1, 10, 70, 300, 50, 10 + 700 + 30 + 124)}


async def test_what_a_stream_told_before_it_broke_off_counts(rig: Rig, model: Model):
    async def plays(say: Say) -> None:
        await say(START + DELTA)
        raise ConnectionResetError

    model.headers, model.plays = [("content-type", "text/event-stream")], plays
    await rig.start()
    async with rig.agent() as agent:
        with pytest.raises(httpx.RemoteProtocolError):
            await agent.ask()
        assert (await used(rig, agent))["claude-test"].output_tokens > 90


async def test_what_an_agent_read_before_it_ended_counts_when_its_token_is_dead(rig: Rig, model: Model):
    async def plays(say: Say) -> None:
        await say(START)
        await asyncio.Event().wait()

    model.headers, model.plays = [("content-type", "text/event-stream")], plays
    await rig.start()
    async with asyncio.timeout(10), httpx.AsyncClient(base_url=rig.url) as client:
        async with rig.agent() as agent:
            stream = client.stream("POST", PATH, json=ASKED, headers={"x-api-key": agent.token})
            answer = await stream.__aenter__()
            chunks = answer.aiter_raw()
            assert await anext(chunks) == START
        assert (await rig.store.usage.of_session(agent.session.id))["claude-test"].input_tokens == 10
        with pytest.raises(httpx.RemoteProtocolError):
            await anext(chunks)
        await stream.__aexit__(None, None, None)


@pytest.mark.parametrize(("streams", "output"), [(True, 0), (False, 64_000)])
async def test_who_goes_away_before_the_answer_is_charged(rig: Rig, model: Model, streams: bool, output: int):
    """Else ten requests that nobody waits for would cost nothing, and no budget would ever hold."""
    asked = asyncio.Event()

    async def plays(say: Say) -> None:
        asked.set()
        await asyncio.Event().wait()

    model.plays = plays
    await rig.start()
    async with asyncio.timeout(10), rig.agent() as agent:
        body = ASKED | {"stream": streams, "max_tokens": 64_000}
        asking = asyncio.create_task(agent.ask(json=body))
        await asked.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

        async def is_charged() -> bool:
            return "claude-test" in await used(rig, agent)

        await until(is_charged, 5)
        spent = (await used(rig, agent))["claude-test"]
    assert (spent.requests, spent.output_tokens) == (1, output)
    assert spent.input_tokens > 0


@pytest.mark.parametrize("status", [400, 429, 500, 529])
async def test_an_error_costs_nothing(rig: Rig, model: Model, status: int):
    model.status = status
    await rig.start()
    async with rig.agent() as agent:
        await agent.ask()
        assert await used(rig, agent) == {}


async def test_counting_tokens_costs_nothing(rig: Rig):
    await rig.start()
    async with rig.agent() as agent:
        assert (await agent.ask(f"{PATH}/count_tokens")).status_code == 200
        assert await used(rig, agent) == {}


@pytest.mark.parametrize("path", [PATH, f"{PATH}/count_tokens"])
async def test_a_model_that_is_not_allowed_is_refused(rig: Rig, model: Model, path: str):
    rig.allowed_models = ("claude-haiku-*", "claude-test")
    await rig.start()
    async with rig.agent() as agent:
        assert (await agent.ask(path)).status_code == 200
        assert (await agent.ask(path, **asked_for("claude-haiku-9"))).status_code == 200
        refused = await agent.ask(path, **asked_for("claude-opus-9"))
        assert agent.take_refusal().kind is ErrorKind.MODEL_NOT_ALLOWED
        assert agent.take_refusal() is None
    assert (refused.status_code, refused.headers["x-should-retry"]) == (403, "false")
    assert refused.json()["error"]["type"] == "permission_error"
    assert "gateway.allowed_models" in refused.json()["error"]["message"]
    assert len(model.seen) == 2


async def test_a_body_with_two_models_reaches_nobody(rig: Rig, model: Model):
    await rig.start()
    async with rig.agent() as agent:
        answer = await agent.ask(content=b'{"model":"claude-test","model":"claude-dear"}', json=None)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert model.seen == []


async def test_a_model_without_a_price_is_refused_only_where_money_counts(rig: Rig):
    rig.limits = BudgetLimits(service_day=Budget(micro_usd=1_000_000))
    await rig.start()
    async with rig.agent() as agent:
        refused = await agent.ask(**asked_for("claude-unknown"))
        assert (await agent.ask()).status_code == 200
    assert refused.status_code == 403
    assert "gateway.prices" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("limits", "kind"),
    [
        (BudgetLimits(session=Budget(micro_usd=600)), ErrorKind.BUDGET_REACHED),
        (BudgetLimits(session=Budget(tokens=240)), ErrorKind.BUDGET_REACHED),
        (BudgetLimits(user_day=Budget(micro_usd=600)), ErrorKind.DAY_BUDGET_REACHED),
        (BudgetLimits(user_day=Budget(tokens=240)), ErrorKind.DAY_BUDGET_REACHED),
        (BudgetLimits(service_day=Budget(micro_usd=600)), ErrorKind.DAY_BUDGET_REACHED),
        (BudgetLimits(service_day=Budget(tokens=240)), ErrorKind.DAY_BUDGET_REACHED),
    ],
)
async def test_a_spent_budget_refuses_the_next_request_at_once(
    rig: Rig, model: Model, limits: BudgetLimits, kind: ErrorKind
):
    rig.limits = limits
    await rig.start()
    async with rig.agent() as agent:
        assert [(await agent.ask()).status_code for _ in range(3)] == [200, 200, 402]
        refused = await agent.ask()
        refusal = agent.take_refusal()
        assert (await agent.ask(f"{PATH}/count_tokens")).status_code == 200
    assert refusal is not None
    assert refusal.kind is kind
    assert refused.headers["x-should-retry"] == "false"
    assert refused.json()["error"] == {"type": "billing_error", "message": refusal.message}
    assert len(model.seen) == 3


@pytest.mark.parametrize(
    ("scope", "of_the_same_user", "of_another"),
    [("session", 200, 200), ("user_day", 402, 200), ("service_day", 402, 402)],
)
async def test_a_budget_holds_for_its_scope(rig: Rig, scope: str, of_the_same_user: int, of_another: int):
    rig.limits = BudgetLimits(**{scope: Budget(tokens=100)})
    await rig.start()
    async with rig.agent("ann") as first, rig.agent("ann") as second, rig.agent("bob") as other:
        assert (await first.ask()).status_code == 200
        assert (await first.ask()).status_code == 402
        assert (await second.ask()).status_code == of_the_same_user
        assert (await other.ask()).status_code == of_another


async def test_where_the_store_does_not_answer_nothing_is_spent(rig: Rig, model: Model, monkeypatch):
    async def fails(*_: object, **__: object) -> Spending:
        raise StorageError("the database does not answer")

    rig.limits = BudgetLimits(user_day=Budget(tokens=100))
    monkeypatch.setattr(rig.store.usage, "total_of_day", fails)
    await rig.start()
    async with rig.agent() as agent:
        answer = await agent.ask()
    assert (answer.status_code, answer.json()["error"]["type"]) == (503, "api_error")
    assert model.seen == []
