"""The engine's face: every operation of the API is one call here."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import timedelta

import structlog

from claude_agent_http.domain.errors import (
    ClaudeAgentError,
    SessionClosedError,
    SessionNotFoundError,
    TurnTimeoutError,
)
from claude_agent_http.domain.event import Event, EventType, Followed, SessionDeleted
from claude_agent_http.domain.session import Session, SessionStatus
from claude_agent_http.domain.turn import TurnEnd
from claude_agent_http.engine.admission import MemoryGauge
from claude_agent_http.engine.follow import Follower
from claude_agent_http.engine.hub import Hub
from claude_agent_http.engine.journal import Journal
from claude_agent_http.engine.limits import Limits
from claude_agent_http.engine.live import LiveSessions
from claude_agent_http.engine.recovery import end_cut_turns
from claude_agent_http.engine.sessions import NewSession, SessionCreator
from claude_agent_http.engine.starts import Starts
from claude_agent_http.engine.turn import TIMEOUT, Turn
from claude_agent_http.engine.worker import WorkerParts
from claude_agent_http.ports import Clock, Ids, RuntimeFactory, Store, Workspaces

_log = structlog.get_logger(__name__)
_EXPIRY_SECONDS = 30.0
_PAGE = 500


@dataclass(frozen=True, slots=True)
class EngineStats:
    """`live` sessions hold an agent process, or start or stop one; `runtimes` are connected processes."""

    live: int
    runtimes: int
    turns: int
    last_start_error: str | None = None


class Engine:
    def __init__(
        self,
        store: Store,
        runtimes: RuntimeFactory,
        workspaces: Workspaces,
        clock: Clock,
        ids: Ids,
        limits: Limits,
        memory: MemoryGauge,
    ) -> None:
        self._store = store
        self._runtimes = runtimes
        self._clock = clock
        self._ids = ids
        self._limits = limits
        self._hub = Hub()
        self._journal = Journal(store.events, self._hub)
        self._creator = SessionCreator(store.sessions, workspaces, clock, ids)
        slots, self._starts = asyncio.Semaphore(limits.max_live), Starts(limits.max_starts_at_once)
        parts = WorkerParts(self._journal, self._hub, runtimes, clock, ids, limits, slots, self._starts)
        self._live = LiveSessions(parts, memory)
        self._expiry: asyncio.Task[None] | None = None
        self._stopped = False

    async def start(self) -> None:
        """Settle what the last process left behind. Call once, before the first request."""
        cut = await end_cut_turns(self._store.sessions, self._store.events, self._journal, self._ids)
        if cut:
            _log.warning("ended turns that a former process left unfinished", turns=cut)
        if self._limits.session_ttl_seconds > 0:
            self._expiry = asyncio.create_task(self._expire(), name="session-expiry")

    async def stop(self, drain_seconds: float) -> None:
        """Drain: no new turns, running ones get `drain_seconds`, streams end, every process is gone after.

        Once it came to its end there is nothing left to stop, and nothing that was given up is tried again.
        """
        if self._stopped:
            return
        if self._expiry is not None:
            self._expiry.cancel()
            await asyncio.gather(self._expiry, return_exceptions=True)
        await self._live.drain(drain_seconds)
        self._hub.close()
        self._stopped = True

    @property
    def draining(self) -> bool:
        return self._live.draining

    def stats(self) -> EngineStats:
        live = self._live
        return EngineStats(live.live, live.runtimes, live.turns, self._starts.last_error)

    async def create(self, new: NewSession) -> Session:
        session = await self._creator.create(new)
        if self._limits.prestart and session.status is SessionStatus.ACTIVE:
            self._live.warm(session)
        return session

    async def get(self, session_id: str) -> Session:
        return await self._store.sessions.get(session_id)

    async def list_ids(self, user_id: str | None, *, limit: int, after: str | None = None) -> list[str]:
        return await self._store.sessions.list_ids(user_id=user_id, limit=limit, after=after)

    async def active_sessions(self) -> int:
        return await self._store.sessions.count(SessionStatus.ACTIVE)

    async def resume(self, session_id: str) -> Session:
        """Open a closed session again and start its runtime ahead of the next message."""
        session = await self._store.sessions.set_status(session_id, SessionStatus.ACTIVE, self._clock.now())
        if self._limits.prestart:
            await self._warm(session)
        return session

    async def delete(self, session_id: str) -> None:
        """Stop the session and remove it with its events and transcripts; the user's files stay."""
        await self.get(session_id)
        await self._live.end(session_id, lambda: self._remove(session_id))

    async def send(self, session_id: str, text: str, seconds: float | None = None) -> Turn:
        """Store the message and begin its turn, which goes on whether or not anybody waits for it.

        `seconds` limits the turn; then it is interrupted. Raises SessionNotFoundError, SessionClosedError,
        BusyError, StorageError, TurnTimeoutError; after a return the message is stored.
        """
        limit = min(seconds or self._limits.turn_seconds, self._limits.turn_seconds)
        deadline = asyncio.get_running_loop().time() + limit
        turn = Turn(self._ids.event_id(), session_id, text, deadline)
        try:
            async with asyncio.timeout_at(deadline):
                session = self._live.session(session_id) or await self.get(session_id)
                if session.status is not SessionStatus.ACTIVE:
                    raise SessionClosedError(session_id)
                self._live.begin(session, turn)
                await asyncio.shield(turn.opened)
        except TimeoutError:
            turn.interrupt(TIMEOUT)
            raise TurnTimeoutError(limit) from None
        return turn

    async def wait(self, turn: Turn, seconds: float) -> TurnEnd:
        """How the turn ended. Raises TurnTimeoutError when its time was up."""
        last = turn.deadline + self._limits.interrupt_grace_seconds + 1
        try:
            async with asyncio.timeout_at(last):
                end = await asyncio.shield(turn.ended)
        except TimeoutError:
            turn.interrupt(TIMEOUT)
            raise TurnTimeoutError(seconds) from None
        if end.interrupted == TIMEOUT:
            raise TurnTimeoutError(seconds)
        return end

    async def interrupt(self, session_id: str, reason: str = "user") -> bool:
        """Ask the running turn to end soon; False when none runs."""
        await self.get(session_id)
        turn = self._live.turn_of(session_id)
        if turn is None:
            return False
        turn.interrupt(reason)
        return True

    async def events(
        self, session_id: str, *, after: int = 0, limit: int = 100, types: frozenset[EventType] | None = None
    ) -> list[Event]:
        await self.get(session_id)
        return await self._store.events.read(session_id, after=after, limit=limit, types=types)

    async def turn_events(self, turn: Turn) -> list[Event]:
        """Every stored event of one turn."""
        events: list[Event] = []
        after = turn.opened.result().seq - 1
        while True:
            page = await self._store.events.read(turn.session_id, after=after, limit=_PAGE)
            events += [event for event in page if event.turn_id == turn.id]
            if len(page) < _PAGE:
                return events
            after = page[-1].seq

    async def follow(self, session_id: str, *, after: int, deltas: bool) -> AsyncGenerator[Followed]:
        """Stored events behind `after`, then live ones, until the session or the process ends."""
        follower = Follower(self._store.events, self._hub, session_id, after=after, deltas=deltas)
        with self._hub.subscribe(session_id) as subscription:
            # Looked up after subscribing: a delete from now on ends the stream, one before is seen here.
            try:
                if self._hub.head(session_id) is None:
                    await self.get(session_id)
            except SessionNotFoundError:
                return
            async for item in follower.items(subscription):
                yield item

    async def _remove(self, session_id: str) -> None:
        await self._store.sessions.delete(session_id)
        self._hub.end(SessionDeleted(session_id, self._ids.event_id(), self._clock.now()))
        await self._runtimes.forget(session_id)

    async def _warm(self, session: Session) -> None:
        self._live.warm(session)
        # Looked up afterwards: a delete from now on finds the runtime, one before is seen here.
        try:
            await self.get(session.id)
        except SessionNotFoundError:
            self._live.hibernate(session.id)
            raise

    async def _expire(self) -> None:
        """Close sessions that nobody used for their time to live."""
        while True:
            try:
                await self._close_unused()
            except ClaudeAgentError as error:
                _log.warning("unused sessions not closed", reason=str(error))
            except Exception:
                _log.exception("unused sessions not closed")
            await asyncio.sleep(min(_EXPIRY_SECONDS, self._limits.session_ttl_seconds))

    async def _close_unused(self) -> None:
        before = self._clock.now() - timedelta(seconds=self._limits.session_ttl_seconds)
        for session_id in await self._store.sessions.close_unused(before):
            if self._live.turn_of(session_id) is None:  # else its message, accepted meanwhile, opens it again
                self._live.hibernate(session_id)
