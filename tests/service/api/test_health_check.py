"""What `/health` is told of the database, the last start of an agent process, and the model."""

from typing import Any

import pytest

from claude_agent_http.api import Health, HealthCheck, ModelMode, ServiceInfo
from claude_agent_http.domain.errors import StorageError
from claude_agent_http.engine import EngineStats

GONE = StorageError("the database does not answer")


async def fine() -> None:
    """A database that answers."""


async def gone() -> None:
    raise GONE


async def seven() -> int:
    return 7


async def gone_meanwhile() -> int:
    raise GONE


def check(start_error: str | None = None, model: ModelMode = "configured", **changed: Any) -> HealthCheck:
    parts: dict[str, Any] = {
        "info": ServiceInfo(version="1.2.3", model_mode=model),
        "storage_type": "sqlite",
        "stats": lambda: EngineStats(live=3, runtimes=2, turns=1, last_start_error=start_error),
        "memory": lambda: 100,
        "ping": fine,
        "sessions": seven,
    }
    return HealthCheck(**parts | changed)


async def test_a_sound_service_is_healthy():
    health = await check()()
    assert (health.status, health.hint) == ("healthy", None)
    assert (health.active_sessions, health.in_memory_clients, health.memory_mb) == (7, 2, 100)


@pytest.mark.parametrize("fault", [{"ping": gone}, {"sessions": gone_meanwhile}])
async def test_a_database_that_is_gone_makes_it_unhealthy(fault: dict[str, Any]):
    health = await check(**fault)()
    assert (health.status, health.hint, health.active_sessions) == ("unhealthy", str(GONE), 0)


async def test_a_failed_start_degrades_it_and_names_the_doctor():
    health = await check(start_error="cannot run /secret/place/claude")()
    assert (health.status, health.active_sessions) == ("degraded", 7)
    assert_says(health, "claude-agent-http doctor")
    assert "/secret/place" not in str(health)


async def test_without_a_model_it_is_degraded_and_says_what_to_set():
    health = await check(model="none")()
    assert (health.status, health.model) == ("degraded", "none")
    assert_says(health, "ANTHROPIC_API_KEY")
    assert_says(health, "CLAUDE_AGENT_MODEL_DEMO=on")


async def test_a_gone_database_is_told_before_all_else():
    assert (await check("no start", "none", ping=gone)()).status == "unhealthy"


async def test_readiness_asks_the_database_alone():
    assert await check(start_error="no start").reason_not_ready() is None
    assert await check(ping=gone).reason_not_ready() == str(GONE)


def assert_says(health: Health, words: str) -> None:
    assert words in (health.hint or "")
