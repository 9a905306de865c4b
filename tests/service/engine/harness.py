"""An engine over the stores' and runtimes' fakes, and the few moves that its tests share."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.waiting import until

from claude_agent_http.domain.errors import StorageFullError
from claude_agent_http.domain.event import Event, EventType, NewEvent
from claude_agent_http.domain.lease import Lease
from claude_agent_http.domain.session import Session
from claude_agent_http.domain.turn import TurnEnd
from claude_agent_http.engine import Engine, NewSession, Turn
from claude_agent_http.metrics.recorded import RecordedTelemetry
from claude_agent_http.ports import EventLog, SessionStore, Store
from claude_agent_http.runtime.fake import FakeRuntimeFactory

TYPES_OF_A_PLAIN_TURN = [
    "user.message",
    "session.status_running",
    "span.model_request_start",
    "agent.message",
    "span.model_request_end",
    "session.usage",
    "session.status_idle",
]


class FullDisk:
    """The memory store's event log with switches: while `full`, nothing is stored; while not `answers`,
    every append waits."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self.full = False
        self.refused = 0
        self.asked = asyncio.Event()
        self.answers = asyncio.Event()
        self.answers.set()

    async def append(
        self,
        session_id: str,
        events: Sequence[NewEvent],
        *,
        lease: Lease | None = None,
        opens_turn: bool = False,
    ) -> list[Event]:
        self.asked.set()
        await self.answers.wait()
        if self.full:
            self.refused += 1
            raise StorageFullError("no space left for the database")
        return await self._log.append(session_id, events, lease=lease, opens_turn=opens_turn)

    async def read(
        self, session_id: str, *, after: int = 0, limit: int = 100, types: frozenset[EventType] | None = None
    ) -> list[Event]:
        return await self._log.read(session_id, after=after, limit=limit, types=types)


class StoreInFront:
    """The parts of a store, to put something in front of some of them."""

    def __init__(self, store: Store) -> None:
        self.events = store.events
        self.sessions = store.sessions
        self.transcripts = store.transcripts
        self.api_keys = store.api_keys
        self.usage = store.usage
        self.audit = store.audit
        self.leases, self.wakeups, self.is_shared = store.leases, store.wakeups, store.is_shared
        self.clock = store.clock
        self.open, self.ping, self.scrub, self.close = store.open, store.ping, store.scrub, store.close


class OtherLog(StoreInFront):
    """A store with another event log in front of its own."""

    def __init__(self, store: Store, log: EventLog) -> None:
        super().__init__(store)
        self.events = log


class OtherSessions(StoreInFront):
    """A store with other sessions in front of its own."""

    def __init__(self, store: Store, sessions: SessionStore) -> None:
        super().__init__(store)
        self.sessions = sessions


@dataclass
class Harness:
    """An engine and what it stands on."""

    engine: Engine
    store: Store
    runtimes: FakeRuntimeFactory
    memory_mb: list[int] = field(default_factory=lambda: [100])
    telemetry: RecordedTelemetry = field(default_factory=RecordedTelemetry)

    async def session(self, user: str = "alice") -> Session:
        return await self.engine.create(NewSession(user))

    async def turn(self, session: Session, text: str, seconds: float | None = None) -> Turn:
        return await self.engine.send(session.id, text, seconds)

    async def say(self, session: Session, text: str) -> TurnEnd:
        turn = await self.turn(session, text)
        return await self.engine.wait(turn, 10)

    async def log(self, session: Session) -> list[Event]:
        return await self.engine.events(session.id, limit=1000)

    async def types(self, session: Session) -> list[str]:
        return [event.type.value for event in await self.log(session)]

    async def until_said(self, session: Session) -> None:
        """Until a message of the agent is stored."""

        async def said() -> bool:
            return "agent.message" in await self.types(session)

        await until(said)
