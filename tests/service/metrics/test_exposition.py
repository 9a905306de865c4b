"""`GET /metrics`: both formats, the state of the moment, and what happens without a database."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from tests.service.metrics.readings import Samples

from claude_agent_http.domain.errors import StorageError
from claude_agent_http.domain.session import SessionStatus
from claude_agent_http.engine import EngineStats
from claude_agent_http.metrics.exposition import create_metrics_app
from claude_agent_http.metrics.prometheus import PrometheusTelemetry
from claude_agent_http.metrics.state import ServiceView
from claude_agent_http.metrics.stored import StoredSessions
from claude_agent_http.system.clock import ManualClock

STATS = EngineStats(live=9, runtimes=4, turns=3, busy=3, queued=2, starting=1)
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class Database:
    """Counts the questions; answers with an error when given one, and never while `hangs`."""

    def __init__(self) -> None:
        self.asked: list[SessionStatus] = []
        self.error: Exception | None = None
        self.hangs = False

    async def count(self, status: SessionStatus) -> int:
        self.asked.append(status)
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        return 7 if status is SessionStatus.ACTIVE else 5


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def telemetry() -> PrometheusTelemetry:
    return PrometheusTelemetry("1.2.3")


@pytest.fixture
async def client(
    telemetry: PrometheusTelemetry, database: Database, clock: ManualClock
) -> AsyncIterator[httpx.AsyncClient]:
    view = ServiceView(lambda: STATS, lambda: 100, StoredSessions(database.count, clock))
    async with client_of(telemetry, view) as client:
        yield client


def client_of(telemetry: PrometheusTelemetry, view: ServiceView) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_metrics_app(telemetry, view))
    return httpx.AsyncClient(transport=transport, base_url="http://metrics")


async def scrape(client: httpx.AsyncClient) -> Samples:
    answer = await client.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return Samples(answer.text)


async def test_the_state_of_the_moment(client: httpx.AsyncClient) -> None:
    seen = await scrape(client)
    sessions = {"queued": 2, "starting": 1, "idle": 1, "running": 3, "stopping": 2}
    assert seen.by("claude_agent_sessions", "state") == sessions
    assert sum(sessions.values()) == STATS.live
    assert seen.by("claude_agent_stored_sessions", "status") == {"active": 7, "closed": 5}
    assert seen.value("claude_agent_turns_in_progress") == 3
    assert seen.value("claude_agent_memory_bytes") == 100 * 1024 * 1024
    assert seen.value("claude_agent_database_up") == 1
    assert seen.value("claude_agent_build_info", version="1.2.3") == 1


async def test_leases_are_told_of_where_there_are_any(
    client: httpx.AsyncClient, telemetry: PrometheusTelemetry, database: Database, clock: ManualClock
) -> None:
    names = {"claude_agent_leases_held", "claude_agent_replicas"}
    assert not names & (await scrape(client)).types.keys()
    stored = StoredSessions(database.count, clock)
    view = ServiceView(lambda: STATS, lambda: 100, stored, leases=lambda: 4, replicas=lambda: 2)
    async with client_of(telemetry, view) as other:
        seen = await scrape(other)
    assert [seen.value(name) for name in sorted(names)] == [4, 2]


async def test_openmetrics_for_who_accepts_it(
    client: httpx.AsyncClient, telemetry: PrometheusTelemetry
) -> None:
    telemetry.turn_began()
    answer = await client.get("/metrics", headers={"Accept": f"{OPENMETRICS};q=0.8,text/plain;q=0.2"})
    assert answer.headers["content-type"].startswith(OPENMETRICS)
    assert answer.text.endswith("# EOF\n")
    found = {family.name: family for family in openmetrics(answer.text)}
    assert found["claude_agent_turns_begun"].samples[0].value == 1


async def test_times_of_creation_are_left_out(client: httpx.AsyncClient) -> None:
    for accept in ("text/plain", OPENMETRICS):
        assert "_created" not in (await client.get("/metrics", headers={"Accept": accept})).text


@pytest.mark.parametrize(
    "accept",
    ["", "*/*", "application/openmetrics-text; version=x", "text/plain; version=x", "a;b;c=d;;", "ü"],
)
async def test_any_accept_header_gets_the_metrics(client: httpx.AsyncClient, accept: str) -> None:
    answer = await client.get("/metrics", headers={b"Accept": accept.encode("latin-1")})
    assert (answer.status_code, "claude_agent_build_info" in answer.text) == (200, True)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/metrics/x", 404), ("POST", "/metrics", 405), ("DELETE", "/metrics", 405)],
)
async def test_there_is_nothing_else(client: httpx.AsyncClient, method: str, path: str, status: int) -> None:
    assert (await client.request(method, path)).status_code == status


async def test_however_many_scrape_the_database_is_asked_once_in_30_s(
    client: httpx.AsyncClient, database: Database, clock: ManualClock
) -> None:
    await asyncio.gather(*(scrape(client) for _ in range(5)))
    clock.advance(29)
    await scrape(client)
    assert sorted(database.asked) == sorted(SessionStatus)
    clock.advance(1)
    await scrape(client)
    assert len(database.asked) == 2 * len(SessionStatus)


@pytest.mark.parametrize("error", [StorageError("the database is away"), RuntimeError("unforeseen")])
async def test_without_a_database_the_rest_is_told(
    client: httpx.AsyncClient, database: Database, clock: ManualClock, error: Exception
) -> None:
    database.error = error
    for _ in range(3):
        seen = await scrape(client)
        assert seen.value("claude_agent_database_up") == 0
        assert seen.by("claude_agent_stored_sessions", "status") == {}
        assert seen.value("claude_agent_turns_in_progress") == 3
    assert len(database.asked) == 1
    database.error = None
    clock.advance(10)
    seen = await scrape(client)
    assert seen.value("claude_agent_database_up") == 1
    assert seen.value("claude_agent_stored_sessions", status="active") == 7


async def test_a_database_that_hangs_holds_no_scrape_for_long(
    client: httpx.AsyncClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("claude_agent_http.metrics.stored._ANSWER_SECONDS", 0.05)
    database.hangs = True
    async with asyncio.timeout(2):
        seen = [await scrape(client) for _ in range(3)]
    assert [one.value("claude_agent_database_up") for one in seen] == [0, 0, 0]
    assert len(database.asked) == 1


async def test_every_value_of_every_label_is_there_from_the_start(client: httpx.AsyncClient) -> None:
    seen = await scrape(client)
    names = [sample.name for sample in seen.all]
    assert names.count("claude_agent_tokens_total") == 4
    assert names.count("claude_agent_runtime_start_seconds_count") == 3
    assert names.count("claude_agent_takeovers_total") == 2
    ours = [one for one in seen.all if one.name.startswith("claude_agent_")]
    assert {one.value for one in ours if one.name.endswith("_total")} == {0}
