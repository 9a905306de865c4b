"""What one replica stands on, watched: each fact goes into the record, and nothing of a dead replica does.

Calls of the store take their time (`lag`), so that a replica can be killed or paused in the middle of one.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from tests.service.faults.history import Agent, Claimed, Fact, Left, Lives, Ran, Released, Wrote

from claude_agent_http.domain.errors import RuntimeStartError, StorageError
from claude_agent_http.domain.lease import Lease, Replica
from claude_agent_http.domain.session import Session
from claude_agent_http.domain.wakeup import Wakeup
from claude_agent_http.ports import AgentRuntime, Clock, Ids, Store, ToolAsk, ToolGate, Wakeups
from claude_agent_http.runtime.fake import FakeRuntimeFactory, Step


@dataclass
class Line:
    """The way to the database. `is_dead`: the replica is, and does nothing any more; `is_cut`: every call
    fails, whether it was carried out or not; `is_deaf`: no word of another replica arrives. So many calls as
    `stumbles` says fail, each before or after it was carried out."""

    clock: Clock
    record: list[Fact]
    lag: Callable[[], Awaitable[None]]
    is_dead: bool = False
    is_cut: bool = False
    is_deaf: bool = False
    stumbles: int = 0

    def check(self) -> None:
        if self.is_dead:
            raise StorageError("a killed process stores nothing")
        if self.is_cut:
            raise StorageError("the database cannot be reached")

    async def call(self, name: str, method: Callable[..., Awaitable[Any]], *args: Any, **more: Any) -> Any:
        await self.lag()
        self.check()
        stumbles_at = self._stumbles_at()
        if stumbles_at == "before":
            raise StorageError("the database did not answer")
        began = self.clock.monotonic()
        self._note(_before(name, args, began))
        result = await method(*args, **more)
        self._note(_after(name, args, more, result, began, self.clock.monotonic()))
        await self.lag()
        self.check()
        if stumbles_at == "after":
            raise StorageError("the answer of the database was lost")
        return result

    def _stumbles_at(self) -> str | None:
        if not self.stumbles:
            return None
        self.stumbles -= 1
        return "after" if self.stumbles % 2 else "before"

    def _note(self, fact: Fact | None) -> None:
        if fact is not None:
            self.record.append(fact)


def _before(name: str, args: Sequence[Any], began: float) -> Fact | None:
    match name, args:
        case "leave", (str() as replica,):
            return Left(replica, began)
        case "release", (Lease() as lease,):
            return Released(lease.session_id, lease.epoch, began)
    return None


def _after(
    name: str, args: Sequence[Any], more: dict[str, Any], result: Any, began: float, at: float
) -> Fact | None:
    match name, args:
        case "append", (str() as session, [*_]) if result:
            lease = more.get("lease")
            return Wrote(session, None if lease is None else lease.epoch, tuple(result), began)
        case "claim", (str() as session, str() as replica) if result is not None:
            return Claimed(session, replica, result.epoch, began, at)
        case "seize", (str() as session, str() as replica):
            return Claimed(session, replica, result.epoch, began, at, by_force=True)
        case "join", (Replica() as replica, float() as seconds):
            return Lives(replica.id, began + seconds, at)
        case "renew", (str() as replica, float() as seconds) if result:
            return Lives(replica, began + seconds, at)
    return None


class _Port:
    """A port of the store whose every call goes over the line."""

    def __init__(self, port: object, line: Line) -> None:
        self._port = port
        self._line = line

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._port, name)

        async def call(*args: Any, **more: Any) -> Any:
            return await self._line.call(name, method, *args, **more)

        return call


class WatchedStore:
    """See `ports.Store`."""

    def __init__(self, store: Store, line: Line) -> None:
        self.events: Any = _Port(store.events, line)
        self.sessions: Any = _Port(store.sessions, line)
        self.transcripts: Any = _Port(store.transcripts, line)
        self.api_keys: Any = _Port(store.api_keys, line)
        self.usage: Any = _Port(store.usage, line)
        self.audit: Any = _Port(store.audit, line)
        self.leases: Any = _Port(store.leases, line)
        self.wakeups = _Wakeups(store.wakeups, line)
        self.is_shared = store.is_shared
        self.clock = store.clock
        self.open, self.ping, self.scrub, self.close = store.open, store.ping, store.scrub, store.close


class _Wakeups:
    """See `ports.Wakeups`."""

    def __init__(self, wakeups: Wakeups, line: Line) -> None:
        self._wakeups = wakeups
        self._line = line
        self.close = wakeups.close

    async def start(self, hear: Callable[[Wakeup], None]) -> None:
        def heard(wakeup: Wakeup) -> None:
            if not (self._line.is_deaf or self._line.is_dead or self._line.is_cut):
                hear(wakeup)

        await self._wakeups.start(heard)

    def tell(self, wakeup: Wakeup) -> None:
        if not (self._line.is_dead or self._line.is_cut):
            self._wakeups.tell(wakeup)


@dataclass
class Agents:
    """See `ports.RuntimeFactory`. Each agent has a launcher that ends it when the lease's time is over, also
    while the replica is paused, or dead (`end_those_whose_time_is_over`, `end_all`)."""

    ids: Ids
    line: Line
    play: Callable[[str], Sequence[Step]]
    until: float | None = None
    _alive: dict[int, Agent] = field(default_factory=dict)
    _starts: int = 0

    def __post_init__(self) -> None:
        self.fake = FakeRuntimeFactory(self.ids, self.play)

    @property
    def alive(self) -> list[str]:
        """The sessions whose agents live."""
        return [agent.session for agent in self._alive.values()]

    def hold(self, until: float | None) -> None:
        self.until = until

    @asynccontextmanager
    async def open(
        self,
        session: Session,
        gate: ToolGate,
        lease: Lease,
        *,
        ask: ToolAsk | None = None,
        undo: str | None = None,
    ) -> AsyncIterator[AgentRuntime]:
        number = self._starts = self._starts + 1

        async def watched(use: str, name: str, given: dict[str, Any]) -> bool:
            may_run = await self.may_run(gate, use, name, given)
            self.end_those_whose_time_is_over()
            may_run = may_run and number in self._alive
            if may_run:
                self.line.record.append(Ran(session.id, use, lease.epoch, self.line.clock.monotonic()))
            return may_run

        self.line.check()
        if self._is_over:
            raise RuntimeStartError("its launcher has ended it")
        async with self.fake.open(session, watched, lease, ask=ask, undo=undo) as runtime:
            self._alive[number] = Agent(session.id, lease.epoch, self.line.clock.monotonic(), None)
            try:
                yield runtime
            finally:
                self._end(number)

    @staticmethod
    async def may_run(gate: ToolGate, use: str, name: str, given: dict[str, Any]) -> bool:
        return await gate(use, name, given)

    async def forget(self, session: Session) -> None:
        await self.fake.forget(session)

    async def forget_user(self, user_id: str) -> None:
        await self.fake.forget_user(user_id)

    def end_those_whose_time_is_over(self) -> None:
        if self._is_over:
            self.end_all()

    @property
    def _is_over(self) -> bool:
        return self.until is not None and self.line.clock.monotonic() >= self.until

    def end_all(self) -> None:
        for runtime in self.fake.alive.values():
            runtime.kill()
        for number in list(self._alive):
            self._end(number)

    def living(self) -> list[Agent]:
        return list(self._alive.values())

    def _end(self, number: int) -> None:
        if (agent := self._alive.pop(number, None)) is not None:
            self.line.record.append(replace(agent, end=self.line.clock.monotonic()))
