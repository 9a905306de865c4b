"""The engine's face: every operation of the API is one call here."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import structlog

from claude_agent_http.domain.approval import Approval, Decision
from claude_agent_http.domain.errors import SessionNotFoundError
from claude_agent_http.domain.event import Event, EventType, Followed
from claude_agent_http.domain.session import Session, SessionStatus
from claude_agent_http.domain.turn import TurnEnd
from claude_agent_http.domain.usage import DayUsage, Spending
from claude_agent_http.domain.wakeup import Changed
from claude_agent_http.engine.admission import MemoryGauge
from claude_agent_http.engine.budgets import Budgets
from claude_agent_http.engine.decisions import Decisions
from claude_agent_http.engine.elsewhere import Elsewhere
from claude_agent_http.engine.erasure import Erased, Erasure
from claude_agent_http.engine.follow import Follower
from claude_agent_http.engine.housekeeping import Chore, Housekeeping
from claude_agent_http.engine.hub import Hub
from claude_agent_http.engine.inbox import Inbox
from claude_agent_http.engine.journal import Journal
from claude_agent_http.engine.limits import Limits
from claude_agent_http.engine.live import LiveSessions
from claude_agent_http.engine.membership import Membership
from claude_agent_http.engine.news import News
from claude_agent_http.engine.parts import WorkerParts
from claude_agent_http.engine.quota import DiskQuota
from claude_agent_http.engine.rates import TurnRates
from claude_agent_http.engine.relay import Relay
from claude_agent_http.engine.removal import Removal
from claude_agent_http.engine.retention import Retention
from claude_agent_http.engine.sessions import NewSession, SessionCreator
from claude_agent_http.engine.starts import Starts
from claude_agent_http.engine.takeover import Takeover
from claude_agent_http.engine.telemetry import NullTelemetry
from claude_agent_http.engine.turn import Turn
from claude_agent_http.engine.turns import Turns
from claude_agent_http.engine.unused_leases import UnusedLeases
from claude_agent_http.engine.watch import Watch
from claude_agent_http.engine.whereabouts import Whereabouts
from claude_agent_http.ports import Clock, Ids, RuntimeFactory, Store, Telemetry, Workspaces

_EXPIRY_SECONDS = 30.0
_OLD_SECONDS = 60.0
_SIZE_SECONDS = 600.0
_ROOM_SECONDS = 5.0
_ALONE_SECONDS = 30.0
_SETTLE_SECONDS = 1.0
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
        rates: TurnRates | None = None,
        quota: DiskQuota | None = None,
        budgets: Budgets | None = None,
        name: str = "",
        version: str = "",
    ) -> None:
        """`name` and `version` are this replica's, for people; `rates` say how often users begin turns,
        `budgets` what they may spend."""
        self._budgets = budgets
        self._store = store
        self._quota = quota or DiskQuota()
        self._clock = clock
        self._limits = limits
        telemetry = telemetry or NullTelemetry()
        hub = self._hub = Hub()
        journal = Journal(store.events, hub, store.wakeups, telemetry)
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
            telemetry=telemetry,
        )
        self._starts = parts.starts
        self._live = LiveSessions(parts, memory)
        self._decisions = Decisions(store.events, journal, self._live)
        inbox = Inbox(self._live, store.events, turn_seconds=limits.turn_seconds)
        news = News(store.events, hub)
        self._watch = Watch(
            store.sessions, inbox, hub, news, relay, clock, ids, poll_seconds=limits.poll_seconds
        )
        self._takeover = Takeover(
            store,
            journal,
            self._live,
            self._membership,
            workspaces,
            clock,
            ids,
            turn_seconds=limits.turn_seconds,
            telemetry=telemetry,
        )
        self._removal = Removal(store, self._live, self._membership, hub, runtimes, clock, ids, limits)
        self._erasure = Erasure(store, self._removal, self._live, runtimes, workspaces, clock)
        self._retention = Retention(store, self._removal, clock, limits, telemetry)
        self._whereabouts = Whereabouts(store, self._live, self._membership, workspaces)
        self._turns = Turns(
            store,
            self._live,
            self._whereabouts,
            self._elsewhere,
            ids,
            limits,
            telemetry,
            lost=self._watch.sweep.set,
            rates=rates or TurnRates(),
            quota=self._quota,
            budgets=budgets,
        )
        self._unused = UnusedLeases(store.leases, store.wakeups, self._live, self._membership)
        self._housekeeping = Housekeeping()
        self._stopped = False

    async def start(self) -> None:
        """Join the other replicas and settle what the last process left behind. Call once, before the first
        request. Raises StorageError; nothing goes on then."""
        try:
            await self._start()
        except BaseException:
            await self.stop(0)
            raise

    async def _start(self) -> None:
        await self._membership.start()
        await self._store.wakeups.start(self._watch.hear)
        if taken := await self._takeover.sweep():
            _log.warning("took over turns that a former process left unfinished", turns=taken)
        seconds = self._limits.poll_seconds if self._store.is_shared else _ALONE_SECONDS
        keep = self._housekeeping.start
        keep(Chore("taking over", self._takeover.sweep, seconds, self._watch.sweep))
        keep(Chore("giving up unused leases", self._unused.release, self._limits.lease_seconds))
        keep(Chore("making room", self._make_room, _ROOM_SECONDS))
        if self._quota.is_limited:
            keep(Chore("looking at users' disk quota", self._enforce_quota, self._limits.quota_seconds))
        if (ttl := self._limits.session_ttl_seconds) > 0:
            keep(Chore("closing unused sessions", self._close_unused, min(_EXPIRY_SECONDS, ttl)))
        if (age := self._limits.retention_seconds) > 0:
            keep(Chore("deleting old closed sessions", self._retention.by_age, min(_OLD_SECONDS, age)))
        if self._limits.retention_bytes > 0:
            keep(Chore("deleting closed sessions for room", self._retention.by_size, _SIZE_SECONDS))
        if self._store.is_shared:
            self._watch.start()

    async def stop(self, drain_seconds: float) -> None:
        """Drain: no new turns, running ones get `drain_seconds`, streams end, every process is gone after.

        Once it came to its end there is nothing left to stop, and nothing that was given up is tried again.
        """
        if self._stopped:
            return
        until = asyncio.get_running_loop().time() + drain_seconds
        self._live.draining = True  # before anything else is waited for
        self._elsewhere.close()
        await self._housekeeping.stop()
        await self._live.drain(drain_seconds, hand_over=self._membership.peers > 0)
        await self._elsewhere.drain(until)
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
        may_start = self._limits.prestart and session.status is SessionStatus.ACTIVE
        if may_start and await self._whereabouts.may_live_here(session):  # a repeat may have a past
            self._live.warm(session)
        return session

    async def get(self, session_id: str) -> Session:
        return await self._store.sessions.get(session_id)

    def owner_here(self, session_id: str) -> str | None:
        """Whose session this is, where that needs no wait: while it lives here. Its owner never changes."""
        session = self._live.session(session_id)
        return None if session is None else session.user_id

    async def list_ids(self, user_id: str | None, *, limit: int, after: str | None = None) -> list[str]:
        return await self._store.sessions.list_ids(user_id=user_id, limit=limit, after=after)

    async def active_sessions(self) -> int:
        return await self._store.sessions.count(SessionStatus.ACTIVE)

    async def resume(self, session_id: str) -> Session:
        """Open a closed session again and start its runtime ahead of the next message."""
        session = await self._store.sessions.set_status(session_id, SessionStatus.ACTIVE, self._clock.now())
        if self._limits.prestart and await self._whereabouts.may_live_here(session):
            await self._warm(session)
        return session

    async def wake(self, session_id: str) -> None:
        """Start the runtime of a hibernated session ahead of its next message, where that takes nobody else's
        place; nothing happens to one that is closed, or lives elsewhere. Raises SessionNotFoundError."""
        session = await self.get(session_id)
        if session.status is SessionStatus.ACTIVE and await self._whereabouts.may_live_here(session):
            await self._warm(session)

    async def delete(self, session_id: str) -> None:
        """Stop the session and remove it with its events and transcripts; the user's files stay."""
        await self._removal.delete(session_id)

    async def erase(self, user_id: str) -> Erased:
        """Delete every session of the user, on whichever replica, and remove all of the user's files and API
        keys. A user without any is erased already. See `Erasure.erase` for what it raises; then it is to be
        repeated."""
        return await self._erasure.erase(user_id)

    async def send(self, session_id: str, text: str, seconds: float | None = None) -> Turn:
        """Store the message and begin its turn, which goes on whether or not anybody waits for it.

        `seconds` limits the turn; then it is interrupted. Raises SessionNotFoundError, SessionClosedError,
        BusyError, StorageError, TurnTimeoutError; after a return the message is stored.
        """
        return await self._turns.send(session_id, text, seconds)

    async def usage_of_session(self, session_id: str) -> dict[str, Spending]:
        """What the session used of which model. Raises SessionNotFoundError, StorageError."""
        await self.get(session_id)
        await self._settle()
        return await self._store.usage.of_session(session_id)

    async def usage_of_days(self, first: date, last: date, *, user_id: str | None) -> list[DayUsage]:
        """What one user, or all together, used on these UTC days. Raises StorageError."""
        await self._settle()
        return await self._store.usage.of_days(first, last, user_id=user_id)

    async def _settle(self) -> None:
        """What was used through this replica counts at once."""
        if self._budgets is not None:
            await self._budgets.ledger.settle(_SETTLE_SECONDS)

    async def check_disk(self, session: Session) -> None:
        """Raises QuotaExceededError when its user takes more of the disk than a user may."""
        await self._quota.check(session.user_id)

    async def wait(self, turn: Turn, seconds: float) -> TurnEnd:
        """How the turn ended. Raises TurnTimeoutError when its time was up."""
        return await self._turns.wait(turn, seconds)

    async def interrupt(self, session_id: str, reason: str = "user") -> bool:
        """Ask the running turn to end soon; False when none runs. Raises SessionNotFoundError."""
        return await self._turns.interrupt(session_id, reason)

    async def approvals(self, session: Session) -> Sequence[Approval]:
        """The tools of the session's turn that wait to be allowed, oldest first."""
        return await self._decisions.pending(session)

    async def decide(
        self, session_id: str, approval_id: str, decision: Decision, reason: str | None = None
    ) -> Event:
        """Allow or deny a tool that was asked for; the stored decision, also when it was made before.

        Raises ApprovalNotFoundError, ApprovalConflictError when it was decided otherwise, ApprovalOverError
        when the turn has ended, SessionNotFoundError, StorageError.
        """
        await self.get(session_id)
        return await self._decisions.decide(session_id, approval_id, decision, reason)

    async def turn_events(self, turn: Turn) -> list[Event]:
        """Every stored event of one turn."""
        return await self._turns.events(turn)

    async def events(
        self, session_id: str, *, after: int = 0, limit: int = 100, types: frozenset[EventType] | None = None
    ) -> list[Event]:
        await self.get(session_id)
        return await self._store.events.read(session_id, after=after, limit=limit, types=types)

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

    async def _enforce_quota(self) -> None:
        running = [self._live.turn_of(session_id) for session_id in list(self._live.held())]
        await self._quota.enforce([turn for turn in running if turn is not None])

    async def _close_unused(self) -> None:
        """Close sessions that nobody used for their time to live."""
        before = self._clock.now() - timedelta(seconds=self._limits.session_ttl_seconds)
        for session_id in await self._store.sessions.close_unused(before):
            if self._live.turn_of(session_id) is None:  # else its message, accepted meanwhile, opens it again
                self._live.hibernate(session_id)
            self._store.wakeups.tell(Changed(session_id))
