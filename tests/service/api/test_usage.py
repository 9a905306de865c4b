"""Usage over HTTP, and messages that a spent budget keeps out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from pathlib import Path

import httpx
import pytest
from tests.service.api.rig import Service, serving

from claude_agent_http.domain.usage import Account, Budget, BudgetLimits, Spending, UsageBatch

DAY = date(2026, 3, 1)
ONE = Spending(1, 2, 3, 4, 5, 6)


async def use(service, session_id: str, *, user_id: str = "alice", day: date = DAY, number: int = 1) -> None:
    account = Account(user_id, session_id, "claude-a", day)
    await service.store.usage.add(UsageBatch(session_id, number, ((account, ONE),)))


def amounts(times: int) -> dict[str, int]:
    return {
        "requests": times,
        "input_tokens": 2 * times,
        "output_tokens": 3 * times,
        "cache_read_input_tokens": 4 * times,
        "cache_creation_input_tokens": 5 * times,
        "cost_micro_usd": 6 * times,
    }


async def test_a_sessions_usage(client, service, session_id):
    path = f"/api/v1/sessions/{session_id}/usage"
    unused = await client.get(path)
    assert unused.json() == {"session_id": session_id, "models": [], "total": amounts(0)}
    for number in (1, 2):
        await use(service, session_id, number=number)
    used = (await client.get(path)).json()
    assert used["models"] == [{"model": "claude-a", **amounts(2)}]
    assert used["total"] == amounts(2)
    await client.delete(f"/api/v1/sessions/{session_id}")
    assert (await client.get(path)).status_code == 404


async def test_usage_by_day_of_one_user_and_of_all(client, service, create):
    ann, bob = await create(client, user_id="ann"), await create(client, user_id="bob")
    await use(service, ann, user_id="ann")
    await use(service, bob, user_id="bob")
    month = {"first": "2026-02-15", "last": "2026-03-01"}
    of_ann = (await client.get("/api/v1/usage", params={"user_id": "ann", **month})).json()
    assert of_ann["days"] == [{"day": "2026-03-01", "model": "claude-a", **amounts(1)}]
    of_all = (await client.get("/api/v1/usage", params=month)).json()
    assert (of_all["user_id"], of_all["total"]) == (None, amounts(2))
    assert of_all["days"][0] == {"day": "2026-03-01", "model": "claude-a", **amounts(2)}
    await client.delete("/api/v1/users/ann")
    after = (await client.get("/api/v1/usage", params=month)).json()
    assert after["total"] == amounts(1)


async def test_the_last_thirty_days_are_meant_unless_said_otherwise(client, service, session_id):
    today = datetime.now(UTC).date()
    await use(service, session_id, day=today)
    answer = (await client.get("/api/v1/usage")).json()
    assert answer["total"] == amounts(1)
    assert answer["last"] == today.isoformat()
    assert (today - date.fromisoformat(answer["first"])).days == 29


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("first=2026-03-02&last=2026-03-01", "first"),
        ("first=2025-01-01&last=2026-03-01", "first"),
        ("first=yesterday", "first"),
        ("last=2026-02-30", "last"),
        ("last=0.0", "last"),
        ("last=2026-02-28T00:00:00Z", "last"),
        ("user_id=%2F", "user_id"),
    ],
)
async def test_a_range_that_is_none_is_told_of(client, query, field):
    answer = await client.get(f"/api/v1/usage?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


@pytest.mark.parametrize(
    ("limits", "status"),
    [
        (BudgetLimits(session=Budget(tokens=14)), 402),
        (BudgetLimits(user_day=Budget(micro_usd=6)), 429),
        (BudgetLimits(service_day=Budget(tokens=14)), 429),
        (BudgetLimits(session=Budget(tokens=15), user_day=Budget(micro_usd=7)), 200),
    ],
)
@pytest.mark.parametrize("path", ["/api/v1/chat", "/api/v1/chat/stream"])
async def test_a_spent_budget_takes_no_message(tmp_path: Path, limits: BudgetLimits, status: int, path: str):
    async with budgeted(tmp_path, limits) as (service, client):
        answer = await client.post("/api/v1/sessions", json={"user_id": "alice"})
        session_id = answer.json()["session_id"]
        await use(service, session_id, day=datetime.now(UTC).date())
        answer = await client.post(path, json={"session_id": session_id, "message": "hi"})
        assert answer.status_code == status
        if status != 200:
            assert "budget" in answer.json()["detail"]
            assert await service.log(session_id) == []
        assert ("retry-after" in answer.headers) is (status == 429)


async def test_erasing_oneself_is_no_new_budget(tmp_path: Path):
    async with budgeted(tmp_path, BudgetLimits(user_day=Budget(tokens=14))) as (service, client):
        for number in (1, 2):
            answer = await client.post("/api/v1/sessions", json={"user_id": "alice"})
            session_id = answer.json()["session_id"]
            if number == 1:
                await use(service, session_id, day=datetime.now(UTC).date())
            answer = await client.post("/api/v1/chat", json={"session_id": session_id, "message": "hi"})
            assert answer.status_code == 429
            assert (await client.delete("/api/v1/users/alice")).status_code == 200
        assert (await client.get("/api/v1/usage", params={"user_id": "alice"})).json()["days"] == []


@asynccontextmanager
async def budgeted(folder: Path, limits: BudgetLimits) -> AsyncIterator[tuple[Service, httpx.AsyncClient]]:
    async with serving(folder / "users", budgets=limits) as service:
        transport = httpx.ASGITransport(service.api)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=10) as client:
            yield service, client
