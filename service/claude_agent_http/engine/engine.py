"""The engine's face: every operation of the API is one call here."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import timedelta

import structlog

from claude_agent_http.domain.errors import (
    ClaudeAgentError,
    DrainingError,
    LeaseLostError,
    SessionClosedError,
    SessionNotFoundError,
    TurnTimeoutError,
)
from claude_agent_http.domain.event import Event, EventType, Followed
from claude_agent_http.domain.lease import Lease
from claude_agent_http.domain.session import Session, SessionPhase, SessionStatus
from claude_agent_http.domain.telemetry import Refusal
from claude_agent_http.domain.turn import TurnEnd
from claude_agent_http.domain.wakeup import Changed
from claude_agent_http.engine.admission import MemoryGauge
from claude_agent_http.engine.elsewhere import Elsewhere
from claude_agent_http.engine.follow import Follower
from claude_agent_http.engine.housekeeping import Chore, Housekeeping
from claude_agent_http.engine.hub import Hub
from claude_agent_http.engine.inbox import Inbox
from claude_agent_http.engine.journal import Journal
from claude_agent_http.engine.limits import Limits
from claude_agent_http.engine.live import LiveSessions
from claude_agent_http.engine.membership import Membership
from claude_agent_http.engine.parts import WorkerParts
from claude_agent_http.engine.relay import Relay
from claude_agent_http.engine.removal import Erased, Removal
from claude_agent_http.engine.sessions import NewSession, SessionCreator
from claude_agent_http.engine.starts import Starts
from claude_agent_http.engine.takeover import Takeover
from claude_agent_http.engine.telemetry import NullTelemetry, tell_refusal
from claude_agent_http.engine.turn import TIMEOUT, Turn
from claude_agent_http.engine.turn_log import unfinished_turn
from claude_agent_http.engine.watch import Watch
from claude_agent_http.ports import Clock, Ids, RuntimeFactory, Store, Telemetry, Workspaces

_PAGE = 500
_EXPIRY_SECONDS = 30.0
_ROOM_SECONDS = 5.0
_ALONE_SECONDS = 30.0
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EngineStats:
    """`live` sessions hold an agent process, or start or stop one; `runtimes` are connected processes, the
    `busy` ones in a turn; `queued` sessions wait until they may start theirs. `peers` are the other replicas
    on the same database."""

    live: int
    runtimes: int
    turns: int
    peers: int = 0
    last_start_error: str | None = None
    busy: int = 0
    queued: int = 0
    starting: int = 0


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
        telemetry: Telemetry | None = None,
        *,
        name: str = "",
        version: str = "",
    ) -> None:
        """`name` and `version` are this replica's, for people."""
        self._store = store
        self._workspaces = workspaces
        self._clock = clock
        self._ids = ids
        self._limits = limits
        self._telemetry = telemetry or NullTelemetry()
        hub = self._hub = Hub()
        journal = Journal(store.events, hub, store.wakeups, self._telemetry)
        relay = self._relay = Relay(hub, store.wakeups, clock)
        self._creator = SessionCreator(store.sessions, workspaces, clock, ids)
        self._elsewhere = Elsewhere(
            store.events,
            journal,
            hub,
            ids,
            late_seconds=limits.interrupt_grace_seconds + limits.lease_seconds,
        )
        self._membership = Membership(
            store, runtimes, clock, ids, limits.lease_seconds, self._lose_all, name=name, version=version
        )
        parts = WorkerParts(
            journal=journal,
            relay=relay,
            leases=store.leases,
            wakeups=store.wakeups,
            replica_id=lambda: self._membership.replica.id,
            lost=self._elsewhere.follow,
            runtimes=runtimes,
            clock=clock,
            ids=ids,
            limits=limits,
            slots=asyncio.Semaphore(limits.max_live),
            starts=Starts(limits.max_starts_at_once),
            telemetry=self._telemetry,
        )
        self._starts = parts.starts
        self._live = LiveSessions(parts, memory)
        inbox = Inbox(self._live, store.events, turn_seconds=limits.turn_seconds)
        self._watch = Watch(store.sessions, inbox, hub, relay, clock, ids, poll_seconds=limits.poll_seconds)
        self._takeover = Takeover(
            store,
            journal,
            self._live,
            self._membership,
            workspaces,
            clock,
            ids,
            turn_seconds=limits.turn_seconds,
            telemetry=self._telemetry,
        )
        self._removal = Removal(
            store, self._live, self._membership, hub, runtimes, workspaces, clock, ids, limits
        )
        self._housekeeping = Housekeeping()
        self._stopped = False

    async def start(self) -> None:
        """Join the other replicas and settle what the last process left behind. Call once, before the first
        request. Raises StorageError."""
        await self._membership.start()
        await self._store.wakeups.start(self._watch.hear)
        if taken := await self._takeover.sweep():
            _log.warning("took over turns that a former process left unfinished", turns=taken)
        seconds = self._limits.poll_seconds if self._store.is_shared else _ALONE_SECONDS
        keep = self._housekeeping.start
        keep(Chore("taking over", self._takeover.sweep, seconds, self._watch.sweep))
        keep(Chore("making room", self._make_room, _ROOM_SECONDS))
        if (ttl := self._limits.session_ttl_seconds) > 0:
            keep(Chore("closing unused sessions", self._close_unused, min(_EXPIRY_SECONDS, ttl)))
        if self._store.is_shared:
            self._watch.start()

    async def stop(self, drain_seconds: float) -> None:
        """Drain: no new turns, running ones get `drain_seconds`, streams end, every process is gone after.

        Once it came to its end there is nothing left to stop, and nothing that was given up is tried again.
        """
        if self._stopped:
            return
        self._live.draining = True  # before anything else is waited for
        await self._housekeeping.stop()
        waiting = [turn.ended for turn in self._elsewhere.turns]
        draining = self._live.drain(drain_seconds, hand_over=self._membership.peers > 0)
        await asyncio.gather(draining, _wait(waiting, drain_seconds))
        await self._elsewhere.stop()
        await self._watch.stop()
        await self._membership.stop()
        self._hub.close()
        self._stopped = True

    @property
    def draining(self) -> bool:
        return self._live.draining

    def stats(self) -> EngineStats:
        live, starts = self._live, self._starts
        return EngineStats(
            live.live,
            live.runtimes,
            live.turns,
            self._membership.peers,
            starts.last_error,
            busy=live.busy_runtimes,
            queued=live.queued + starts.waiting,
            starting=starts.under_way,
        )

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

    async def wake(self, session_id: str) -> None:
        """Start the runtime of a hibernated session ahead of its next message, where that takes nobody else's
        place; nothing happens to one that is closed, or lives elsewhere. Raises SessionNotFoundError."""
        session = await self.get(session_id)
        if session.status is SessionStatus.ACTIVE and not await self._lives_elsewhere(session):
            await self._warm(session)

    async def delete(self, session_id: str) -> None:
        """Stop the session and remove it with its events and transcripts; the user's files stay."""
        await self._removal.delete(session_id)

    async def erase(self, user_id: str) -> Erased:
        """Delete every session of the user, on whichever replica, and remove all of the user's files. A user
        without any is erased already. See `Removal.erase` for what it raises; then it is to be repeated."""
        return await self._removal.erase(user_id)

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
                if await self._opened_here(turn):
                    return turn
                turn = Turn(self._ids.event_id(), session_id, text, deadline)
                await self._elsewhere.open(turn)
        except TimeoutError:
            turn.interrupt(TIMEOUT)
            self._telemetry.message_refused(Refusal.TIMEOUT)
            raise TurnTimeoutError(limit) from None
        except ClaudeAgentError as error:
            tell_refusal(error, self._telemetry)
            raise
        return turn

    async def _opened_here(self, turn: Turn) -> bool:
        """False when another replica has the session."""
        session = self._live.session(turn.session_id) or await self.get(turn.session_id)
        if session.status is not SessionStatus.ACTIVE:
            raise SessionClosedError(session.id)
        if self.draining:
            raise DrainingError
        if await self._lives_elsewhere(session):
            return False
        self._live.begin(session, turn)
        try:
            await asyncio.shield(turn.opened)
        except LeaseLostError:
            self._watch.sweep.set()
            if self.draining:
                raise DrainingError from None
            return False
        return True

    async def _lives_elsewhere(self, session: Session) -> bool:
        """It does too when its files are not on this disk: the turn is for a replica that sees them."""
        holder = session.lease_holder
        if self._live.is_held(session.id):
            return False
        if self._membership.peers and not await self._workspaces.is_visible(session):
            return True
        if holder in (None, self._membership.replica.id):
            return False
        return not await self._store.leases.has_stopped(Lease(session.id, holder, session.lease_epoch))

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
        session = await self.get(session_id)
        if (turn := self._live.turn_of(session_id)) is not None:
            turn.interrupt(reason)
            return True
        if session.phase is not SessionPhase.RUNNING or not self._store.is_shared:
            return False
        found = await unfinished_turn(self._store.events, session_id, session.last_seq)
        if found is None:
            return False
        if found.interrupt is None:
            await self._elsewhere.interrupt(session_id, found.id, reason)
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
        with self._hub.subscribe(session_id, deltas=deltas) as subscription:
            if deltas and self._live.worker(session_id) is None:
                self._relay.ask(session_id, again=True)
            # Looked up after subscribing: a delete from now on ends the stream, one before is seen here.
            try:
                if self._hub.head(session_id) is None:
                    await self.get(session_id)
            except SessionNotFoundError:
                return
            async for item in follower.items(subscription):
                yield item

    async def _warm(self, session: Session) -> None:
        self._live.warm(session)
        # Looked up afterwards: a delete from now on finds the runtime, one before is seen here.
        try:
            await self.get(session.id)
        except SessionNotFoundError:
            self._live.hibernate(session.id)
            raise

    def _lose_all(self) -> None:
        self._live.lose_all()

    async def _make_room(self) -> None:
        self._live.make_room()

    async def _close_unused(self) -> None:
        """Close sessions that nobody used for their time to live."""
        before = self._clock.now() - timedelta(seconds=self._limits.session_ttl_seconds)
        for session_id in await self._store.sessions.close_unused(before):
            if self._live.turn_of(session_id) is None:  # else its message, accepted meanwhile, opens it again
                self._live.hibernate(session_id)
            self._store.wakeups.tell(Changed(session_id))


async def _wait(futures: list[asyncio.Future[TurnEnd]], seconds: float) -> None:
    if futures:
        await asyncio.wait(futures, timeout=seconds)
