"""Engines over fakes, for every test of this folder."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.service.engine.cluster import Cluster, Pair
from tests.service.engine.harness import Harness
from tests.waiting import until

from claude_agent_http.disk import FolderWorkspaces
from claude_agent_http.engine import DiskQuota, Engine, Limits, TurnRates
from claude_agent_http.metrics.recorded import RecordedTelemetry
from claude_agent_http.ports import Store
from claude_agent_http.runtime.fake import FakeRuntimeFactory
from claude_agent_http.store import memory_store
from claude_agent_http.system.clock import SystemClock
from claude_agent_http.system.ids import CountedIds


@pytest.fixture
def make_harness(tmp_path: Path):
    """`async with make_harness(limits)`: an engine, started, and stopped at the end."""

    @asynccontextmanager
    async def make(
        limits: Limits | None = None,
        store: Store | None = None,
        rates: TurnRates | None = None,
        quota: DiskQuota | None = None,
    ) -> AsyncIterator[Harness]:
        clock, ids = SystemClock(), CountedIds()
        store = store or memory_store(clock)
        runtimes = FakeRuntimeFactory(ids)
        memory, telemetry = [100], RecordedTelemetry()
        limits = limits or Limits(prestart=False, interrupt_grace_seconds=0.3)
        workspaces = FolderWorkspaces(tmp_path / "users")
        engine = Engine(
            store,
            runtimes,
            workspaces,
            clock,
            ids,
            limits,
            lambda: memory[0],
            telemetry,
            rates=rates,
            quota=quota,
        )
        await engine.start()
        try:
            yield Harness(engine, store, runtimes, memory, telemetry)
        finally:
            await engine.stop(0)

    return make


@pytest.fixture
async def harness(make_harness) -> AsyncIterator[Harness]:
    async with make_harness() as made:
        yield made


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    made = Cluster(tmp_path)
    async with made.stack:
        yield made


@pytest.fixture(params=["heard", "polled"])
async def pair(cluster: Cluster, request: pytest.FixtureRequest) -> Pair:
    """Two replicas that hear each other, or not: then they ask the database."""
    first, second = await cluster.start(), await cluster.start()
    await until(lambda: first.engine.stats().peers == 1 == second.engine.stats().peers)
    cluster.store.bus.deaf = request.param == "polled"
    return first, second
