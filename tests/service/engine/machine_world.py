"""What an engine stands on, made unsure: every call of a store or a runtime can be held, and can fail."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Literal, TypeVar

from tests.service.engine.harness import StoreInFront

from claude_agent_http.domain.errors import StorageError, StorageFullError
from claude_agent_http.domain.event import Event, EventType, NewEvent
from claude_agent_http.domain.lease import Lease
from claude_agent_http.domain.session import Session, SessionHead, SessionStatus
from claude_agent_http.engine import Limits
from claude_agent_http.ports import (
    AgentRuntime,
    Clock,
    EventLog,
    Ids,
    Leases,
    RuntimeItem,
    SessionStore,
    Store,
    ToolAsk,
    ToolGate,
)
from claude_agent_http.runtime.fake import FakeRuntimeFactory, Step

T = TypeVar("T")
CALLS = (
    *("append", "read", "get", "set_status", "close_unused", "expired", "delete_closed", "delete", "create"),
    *("claim", "claim_closed", "release", "orphans"),
)
GATES = (
    *(f"before {call}" for call in CALLS),
    *(f"after {call}" for call in CALLS if call != "create"),  # only then its id is known
    *("before append", "after append"),  # more often than the others
    *("start", "close", "step", "interrupt", "forget", "reader"),
)


class Gates:
    """Named places that calls pass through: closed ones keep them until they are let go, in any order."""

    def __init__(self) -> None:
        self._closed: set[str] = set()
        self._waiting: list[asyncio.Event] = []

    @property
    def all_open(self) -> bool:
        return not self._closed and not self._waiting

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def pass_through(self, name: str) -> None:
        if name not in self._closed:
            return
        event = asyncio.Event()
        self._waiting.append(event)
        try:
            await event.wait()
        finally:
            if event in self._waiting:
                self._waiting.remove(event)

    def close(self, name: str) -> None:
        self._closed.add(name)

    def let_go(self, number: int) -> None:
        """One of those that wait; the gate stays closed."""
        self._waiting.pop(number % len(self._waiting)).set()

    def open_all(self) -> None:
        self._closed.clear()
        while self._waiting:
            self.let_go(0)


class Gate(asyncio.Event):
    """A gate in the form that the fake runtime takes."""

    def __init__(self, gates: Gates, name: str) -> None:
        super().__init__()
        self._gates = gates
        self._name = name

    async def wait(self) -> Literal[True]:
        await self._gates.pass_through(self._name)
        return True


class Disk:
    """Why calls of the store fail: no space for events, one failure of a named call, or all over."""

    def __init__(self) -> None:
        self.full = False
        self.failing: Counter[str] = Counter()
        self.gone = False

    @property
    def sound(self) -> bool:
        return not (self.full or self.gone or self.failing.total())

    def heal(self) -> None:
        self.full = False
        self.failing.clear()

    def check(self, call: str) -> None:
        if self.gone:
            raise StorageError("a killed process stores nothing")
        if self.full and call == "append":
            raise StorageFullError("no space left for the database")
        if self.failing[call]:
            self.failing[call] -= 1
            raise StorageError(f"the database failed to {call}")


class _Calls:
    def __init__(self, gates: Gates, disk: Disk) -> None:
        self._gates = gates
        self._disk = disk

    async def _call(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        await self._gates.pass_through(f"before {name}")
        self._disk.check(name)
        result = await work()
        await self._gates.pass_through(f"after {name}")
        return result


class UnsureLog(_Calls):
    def __init__(self, log: EventLog, gates: Gates, disk: Disk) -> None:
        super().__init__(gates, disk)
        self._log = log

    async def append(
        self,
        session_id: str,
        events: Sequence[NewEvent],
        *,
        lease: Lease | None = None,
        opens_turn: bool = False,
    ) -> list[Event]:
        return await self._call(
            "append", lambda: self._log.append(session_id, events, lease=lease, opens_turn=opens_turn)
        )

    async def read(
        self, session_id: str, *, after: int = 0, limit: int = 100, types: frozenset[EventType] | None = None
    ) -> list[Event]:
        return await self._call(
            "read", lambda: self._log.read(session_id, after=after, limit=limit, types=types)
        )


class UnsureSessions(_Calls):
    def __init__(self, sessions: SessionStore, gates: Gates, disk: Disk) -> None:
        super().__init__(gates, disk)
        self._sessions = sessions
        self.list_ids, self.count = sessions.list_ids, sessions.count
        self.one_a_folder = sessions.one_a_folder
        self.closed_before: list[datetime] = []

    async def create(self, session: Session) -> Session:
        return await self._call("create", lambda: self._sessions.create(session))

    async def find_repeat(self, session: Session) -> Session | None:
        return await self._call("find_repeat", lambda: self._sessions.find_repeat(session))

    async def get(self, session_id: str) -> Session:
        return await self._call("get", lambda: self._sessions.get(session_id))

    async def heads(self, session_ids: Collection[str]) -> dict[str, SessionHead]:
        return await self._call("heads", lambda: self._sessions.heads(session_ids))

    async def set_status(self, session_id: str, status: SessionStatus, at: datetime) -> Session:
        return await self._call("set_status", lambda: self._sessions.set_status(session_id, status, at))

    async def close_unused(self, before: datetime) -> list[str]:
        self.closed_before.append(before)
        return await self._call("close_unused", lambda: self._sessions.close_unused(before))

    async def expired(self, through: datetime) -> list[list[str]]:
        return await self._call("expired", lambda: self._sessions.expired(through))

    async def claim_closed(
        self, session_ids: Collection[str], through: datetime, replica_id: str
    ) -> list[Session]:
        return await self._call(
            "claim_closed", lambda: self._sessions.claim_closed(session_ids, through, replica_id)
        )

    async def delete_closed(self, leases: Collection[Lease], through: datetime) -> list[Session]:
        return await self._call("delete_closed", lambda: self._sessions.delete_closed(leases, through))

    async def excess(self, most_bytes: int) -> datetime | None:
        return await self._call("excess", lambda: self._sessions.excess(most_bytes))

    async def delete(self, session_id: str, *, lease: Lease | None = None) -> None:
        await self._call("delete", lambda: self._sessions.delete(session_id, lease=lease))


class UnsureLeases(_Calls):
    def __init__(self, leases: Leases, gates: Gates, disk: Disk) -> None:
        super().__init__(gates, disk)
        self._leases = leases
        self.join, self.renew, self.leave = leases.join, leases.renew, leases.leave
        self.seize, self.has_stopped = leases.seize, leases.has_stopped
        self.is_alone, self.held, self.bury = leases.is_alone, leases.held, leases.bury

    async def claim(self, session_id: str, replica_id: str) -> Lease | None:
        return await self._call("claim", lambda: self._leases.claim(session_id, replica_id))

    async def release(self, lease: Lease) -> None:
        await self._call("release", lambda: self._leases.release(lease))

    async def orphans(self, replica_id: str, limit: int, *, after: Session | None = None) -> list[Session]:
        return await self._call("orphans", lambda: self._leases.orphans(replica_id, limit, after=after))


class UnsureStore(StoreInFront):
    """A store behind gates, whose disk can fail."""

    sessions: UnsureSessions

    def __init__(self, store: Store, gates: Gates, disk: Disk) -> None:
        super().__init__(store)
        self.events: EventLog = UnsureLog(store.events, gates, disk)
        self.sessions = UnsureSessions(store.sessions, gates, disk)
        self.leases = UnsureLeases(store.leases, gates, disk)


class Runtimes:
    """Fake runtimes behind gates, which watch what the engine promises about them: `broken` says how it
    did not. `held` are the sessions of which one starts, lives or stops."""

    def __init__(
        self,
        ids: Ids,
        gates: Gates,
        limits: Limits,
        clock: Clock,
        play: Callable[[str], Sequence[Step]],
    ) -> None:
        self.fake = FakeRuntimeFactory(ids, play)
        self.fake.before_close = Gate(gates, "close")
        self.held: list[str] = []
        self.broken: list[str] = []
        self._since: dict[str, float] = {}
        self._starting = 0
        self._clock = clock
        self._gates = gates
        self._limits = limits

    def hold(self, until: float | None) -> None:
        self.fake.hold(until)

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
        self._enter(session.id)
        try:
            try:
                await self._gates.pass_through("start")
            finally:
                self._starting -= 1
            async with self.fake.open(session, gate, lease, ask=ask, undo=undo) as runtime:
                self._since[session.id] = self._clock.monotonic()
                yield _SlowToHear(runtime, self._gates)
        finally:
            self.held.remove(session.id)

    async def forget(self, session: Session) -> None:
        await self._gates.pass_through("forget")
        await self.fake.forget(session)

    async def forget_user(self, user_id: str) -> None:
        await self.fake.forget_user(user_id)

    def gone(self, session_id: str) -> None:
        """Its deletion was acknowledged."""
        self._promise(session_id not in self.held, "a session was deleted before its runtime was gone")

    def started_within(self, seconds: float) -> int:
        now = self._clock.monotonic()
        return sum(now - self._since[session_id] < seconds for session_id in self.held)

    def _enter(self, session_id: str) -> None:
        self._promise(session_id not in self.held, "one session has two runtimes")
        self.held.append(session_id)
        self._starting += 1
        self._promise(len(self.held) <= self._limits.max_live, "more runtimes than max_live")
        self._promise(self._starting <= self._limits.max_starts_at_once, "too many starts at once")

    def _promise(self, kept: bool, what: str) -> None:
        """Not an assertion: the engine would take it for a failure of the runtime, and go on."""
        if not kept:
            self.broken.append(what)


class _SlowToHear:
    """A runtime that an interrupt may not reach for long."""

    def __init__(self, runtime: AgentRuntime, gates: Gates) -> None:
        self._runtime = runtime
        self._gates = gates
        self.pid = runtime.pid
        self.kill = runtime.kill

    def turn(self, prompt: str, turn_id: str) -> AsyncGenerator[RuntimeItem]:
        return self._runtime.turn(prompt, turn_id)

    async def interrupt(self) -> None:
        await self._gates.pass_through("interrupt")
        await self._runtime.interrupt()


class AnyWorkspace:
    """Needs no disk, and so no thread."""

    async def is_visible(self, session: Session) -> bool:
        return True

    async def resolve(self, user_id: str, subdir: str | None) -> str:
        return f"/workspaces/{user_id}/{subdir or ''}"

    async def erase(self, user_id: str) -> int:
        return 0
