"""The API over an engine on the memory store and the fake runtime, and how to read what it answers."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from claude_agent_http.api import AuditParts, Health, IsolationInfo, ServiceInfo, create_api
from claude_agent_http.disk import FolderFiles, FolderWorkspaces
from claude_agent_http.domain.event import Event, NewEvent
from claude_agent_http.domain.lease import Lease
from claude_agent_http.domain.usage import BudgetLimits
from claude_agent_http.engine import AuditTrail, Budgets, Engine, KeyRing, Ledger, Limits, TurnRates
from claude_agent_http.ports import (
    ApiKeys,
    AuditLog,
    Clock,
    EventLog,
    Leases,
    SessionStore,
    Store,
    TranscriptStore,
    UsageStore,
    Wakeups,
)
from claude_agent_http.runtime.fake import FakeRuntimeFactory, Step
from claude_agent_http.store import memory_store
from claude_agent_http.system.clock import SystemClock
from claude_agent_http.system.ids import RandomIds


class FaultyLog:
    """The memory store's event log, until it is given an error to raise."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self.error: Exception | None = None
        self.read = log.read

    async def append(
        self,
        session_id: str,
        events: Sequence[NewEvent],
        *,
        lease: Lease | None = None,
        opens_turn: bool = False,
    ) -> list[Event]:
        if self.error is not None:
            raise self.error
        return await self._log.append(session_id, events, lease=lease, opens_turn=opens_turn)


@dataclass
class FaultyStore:
    """The memory store with a faulty event log and, when told so, a faulty session table."""

    inner: Store
    events: FaultyLog
    sessions_error: Exception | None = None

    @property
    def sessions(self) -> SessionStore:
        if self.sessions_error is not None:
            raise self.sessions_error
        return self.inner.sessions

    @property
    def transcripts(self) -> TranscriptStore:
        return self.inner.transcripts

    @property
    def leases(self) -> Leases:
        return self.inner.leases

    @property
    def wakeups(self) -> Wakeups:
        return self.inner.wakeups

    @property
    def usage(self) -> UsageStore:
        return self.inner.usage

    @property
    def audit(self) -> AuditLog:
        return self.inner.audit

    @property
    def api_keys(self) -> ApiKeys:
        return self.inner.api_keys

    @property
    def clock(self) -> Clock:
        return self.inner.clock

    @property
    def is_shared(self) -> bool:
        return self.inner.is_shared

    async def open(self) -> None:
        await self.inner.open()

    async def ping(self) -> None:
        await self.inner.ping()

    async def scrub(self) -> bool:
        return await self.inner.scrub()

    async def close(self) -> None:
        await self.inner.close()


@dataclass
class Service:
    """The parts, and the steps that a prompt of the agent plays: `says["hi"] = [Say("hello")]`."""

    api: FastAPI
    engine: Engine
    store: FaultyStore
    runtimes: FakeRuntimeFactory
    state: dict[str, Any]
    folder: Path
    says: dict[str, Sequence[Step]] = field(default_factory=dict)

    async def log(self, session_id: str) -> list[Event]:
        return await self.engine.events(session_id, limit=1000)

    async def until_logged(self, session_id: str, *types: str) -> None:
        """Until the session's log holds an event of each type."""
        missing = set(types)
        async with asyncio.timeout(5):
            async for item in self.engine.follow(session_id, after=0, deltas=False):
                missing.discard(item.type.value if isinstance(item, Event) else "")
                if not missing:
                    return


@asynccontextmanager
async def serving(
    folder: Path, limits: Limits | None = None, *, budgets: BudgetLimits | None = None, **options: Any
) -> AsyncIterator[Service]:
    """A service that runs in this event loop."""
    service = build(folder, limits, budgets=budgets, **options)
    await service.engine.start()
    try:
        yield service
    finally:
        service.store.events.error = service.store.sessions_error = None
        await service.engine.stop(0)


def build(
    folder: Path,
    limits: Limits | None = None,
    turns: TurnRates | None = None,
    *,
    budgets: BudgetLimits | None = None,
    **options: Any,
) -> Service:
    """A service that is not started yet; `options` go to `create_api`."""
    clock, ids = SystemClock(), RandomIds()
    inner = memory_store(clock)
    store = FaultyStore(inner, FaultyLog(inner.events))
    runtimes = FakeRuntimeFactory(ids)
    limits = limits or Limits(prestart=False, interrupt_grace_seconds=0.3, max_turns_at_once=50)
    workspaces = FolderWorkspaces(folder)
    spending = Budgets(budgets or BudgetLimits(), Ledger(store.usage, clock, "rig"), clock)
    parts = (store, runtimes, workspaces, clock, ids, limits, lambda: 100)
    engine = Engine(*parts, rates=turns, budgets=spending)
    state: dict[str, Any] = {"status": "healthy", "reason": None}

    async def health() -> Health:
        return Health(
            status=state["status"],
            version="1.2.3",
            active_sessions=await engine.active_sessions(),
            in_memory_clients=engine.stats().runtimes,
            memory_mb=100,
            storage_type="memory",
            uptime_seconds=1.5,
            model="demo",
            isolation=IsolationInfo("required", 7),
        )

    async def ready() -> str | None:
        reason: str | None = state["reason"]
        return reason

    info = ServiceInfo(version="1.2.3", model_mode="demo")
    trail = AuditTrail(store.audit, clock)
    audit = AuditParts(trail, clock, ids, is_on=True)
    options = {
        "authenticator": None,
        "audit": audit,
        "key_ring": KeyRing(store.api_keys, clock, ids),
        **options,
    }
    api = create_api(engine, info, health, ready, FolderFiles(folder), **options)
    service = Service(api, engine, store, runtimes, state, folder)
    default = runtimes.play
    runtimes.play = lambda prompt: service.says.get(prompt) or default(prompt)
    return service


def problem(response: httpx.Response, status: int, kind: str | None = None) -> dict[str, Any]:
    """The body of an error, checked against RFC 9457 and against what old clients read; HEAD has none."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    if response.request.method == "HEAD":
        assert response.content == b""
        return {}
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert isinstance(body["detail"], str)
    assert body["detail"]
    assert body["title"]
    assert body["instance"].startswith("/")
    assert body["type"].startswith("urn:claude-agent-http:problem:")
    assert kind is None or body["type"].endswith(f":{kind}")
    assert ("retry-after" in response.headers) == (status in (429, 503))
    return body


@dataclass(frozen=True)
class Sent:
    """One Server-Sent Event."""

    data: dict[str, Any]
    id: str | None
    event: str | None


async def sse(response: httpx.Response) -> AsyncIterator[Sent]:
    """The events of a stream, as the standard has them read; comments are left out."""
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line == "":
            if "data" in fields:
                yield Sent(json.loads(fields["data"]), fields.get("id"), fields.get("event"))
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value


async def take(response: httpx.Response, until: Callable[[Sent], bool]) -> list[Sent]:
    """Events of a stream up to the first that fits; fails after 5 s."""
    taken: list[Sent] = []
    async with asyncio.timeout(5):
        async for sent in sse(response):
            taken.append(sent)
            if until(sent):
                break
    return taken
