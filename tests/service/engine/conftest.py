"""Engines over fakes, for every test of this folder."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.service.engine.harness import Harness

from claude_agent_http.engine import Engine, Limits
from claude_agent_http.metrics.recorded import RecordedTelemetry
from claude_agent_http.ports import Store
from claude_agent_http.runtime.fake import FakeRuntimeFactory
from claude_agent_http.runtime.workspaces import FolderWorkspaces
from claude_agent_http.store import memory_store
from claude_agent_http.system.clock import SystemClock
from claude_agent_http.system.ids import CountedIds


@pytest.fixture
def make_harness(tmp_path: Path):
    """`async with make_harness(limits)`: an engine, started, and stopped at the end."""

    @asynccontextmanager
    async def make(limits: Limits | None = None, store: Store | None = None) -> AsyncIterator[Harness]:
        clock, ids = SystemClock(), CountedIds()
        store = store or memory_store(clock)
        runtimes = FakeRuntimeFactory(ids)
        memory, telemetry = [100], RecordedTelemetry()
        limits = limits or Limits(prestart=False, interrupt_grace_seconds=0.3)
        workspaces = FolderWorkspaces(tmp_path / "users")
        engine = Engine(store, runtimes, workspaces, clock, ids, limits, lambda: memory[0], telemetry)
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
