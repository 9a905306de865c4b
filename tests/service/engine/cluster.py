"""Several engines on one store, as replicas share a database."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.service.engine.machine_checks import check_log
from tests.waiting import until

from claude_agent_http.disk import FolderWorkspaces
from claude_agent_http.domain.event import Event, EventType, Followed
from claude_agent_http.domain.session import Session, SessionPhase
from claude_agent_http.engine import Engine, Limits
from claude_agent_http.metrics.recorded import RecordedTelemetry
from claude_agent_http.runtime.fake import FakeRuntimeFactory, Say, Wait
from claude_agent_http.store.memory import MemoryStore
from claude_agent_http.system.clock import SystemClock
from claude_agent_http.system.ids import CountedIds

LEASE = 0.6
LIMITS = Limits(
    prestart=False, interrupt_grace_seconds=0.3, stop_seconds=1.0, lease_seconds=LEASE, poll_seconds=0.1
)


@dataclass
class Replica:
    engine: Engine
    store: MemoryStore
    runtimes: FakeRuntimeFactory
    telemetry: RecordedTelemetry

    async def say(self, session: Session, text: str):
        turn = await self.engine.send(session.id, text)
        return await self.engine.wait(turn, 10)

    def cut_off(self) -> None:
        """As a process that is paused: it renews nothing and hears nothing."""
        self.engine._membership._renewing.cancel()
        self.store.wakeups._bus.members.pop(self.store.wakeups, None)

    async def sweeps(self, times: int = 2) -> None:
        """Until it has looked so many times for what it may take over, and has done what it found."""
        takeover, looks = self.engine._takeover, 0
        look = takeover._orphans

        async def counted(after: Session | None) -> list[Session]:
            nonlocal looks
            looks += after is None
            return await look(after)

        vars(takeover)["_orphans"] = counted
        await until(lambda: looks > times)
        vars(takeover)["_orphans"] = look


@dataclass
class Cluster:
    """`a` and `b` run; `play` is what agents do for a prompt."""

    folder: Path
    ids: CountedIds = field(default_factory=CountedIds)
    store: MemoryStore = field(default_factory=lambda: MemoryStore(SystemClock(), is_shared=True))
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    plays: dict[str, tuple] = field(default_factory=dict)

    async def start(self, limits: Limits = LIMITS, folder: str = "users") -> Replica:
        store = self.store.replica()
        runtimes = FakeRuntimeFactory(
            self.ids, lambda prompt: self.plays.get(prompt, (Say(f"You said: {prompt}"),))
        )
        workspaces, telemetry = FolderWorkspaces(self.folder / folder), RecordedTelemetry()
        engine = Engine(store, runtimes, workspaces, SystemClock(), self.ids, limits, lambda: 100, telemetry)
        await engine.start()
        self.stack.push_async_callback(engine.stop, 0)
        self.stack.push_async_callback(store.wakeups.close)
        return Replica(engine, store, runtimes, telemetry)

    async def log(self, session: Session) -> list[Event]:
        log = await self.store.events.read(session.id, limit=10_000)
        check_log(log)
        return log

    async def types(self, session: Session) -> list[str]:
        return [event.type.value for event in await self.log(session)]

    async def until_type(self, session: Session, kind: EventType, count: int = 1) -> None:
        async def there() -> bool:
            return (await self.types(session)).count(kind.value) >= count

        await until(there)

    async def until_idle(self, session: Session) -> list[Event]:
        async def idle() -> bool:
            return (await self.store.sessions.get(session.id)).phase is SessionPhase.IDLE

        await until(idle)
        return await self.log(session)


Pair = tuple[Replica, Replica]


def holds(event: asyncio.Event, *more: object) -> tuple:
    return (Say("before"), Wait(event), *(more or (Say("after"),)))


async def followed(engine: Engine, session: Session, *, deltas: bool, seen: list[Followed]) -> None:
    async for item in engine.follow(session.id, after=0, deltas=deltas):
        seen.append(item)
