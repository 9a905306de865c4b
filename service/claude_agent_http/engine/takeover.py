"""Taking over what a replica left behind: turns that nobody runs any more."""

import asyncio

import structlog

from claude_agent_http.domain import vocabulary
from claude_agent_http.domain.errors import BusyError, ClaudeAgentError, LeaseLostError, SessionNotFoundError
from claude_agent_http.domain.event import Event, NewEvent
from claude_agent_http.domain.lease import Lease
from claude_agent_http.domain.session import Session
from claude_agent_http.domain.telemetry import Refusal
from claude_agent_http.domain.telemetry import Takeover as Outcome
from claude_agent_http.domain.turn import ErrorKind, StopReason, TurnEnd, TurnError
from claude_agent_http.domain.vocabulary import timeout_of
from claude_agent_http.engine.closing import closing_events, ended_requests
from claude_agent_http.engine.journal import Journal
from claude_agent_http.engine.live import LiveSessions
from claude_agent_http.engine.membership import Membership
from claude_agent_http.engine.turn import Turn
from claude_agent_http.engine.turn_log import UnfinishedTurn, unfinished_turn
from claude_agent_http.ports import Clock, Ids, Store, Telemetry, Workspaces

_log = structlog.get_logger(__name__)
_AT_ONCE = 100
_MOST_RUNS = 2
_MOST_TRIES = 5  # of a turn that never began: it waited for a place, and its replica was drained
_CUT = TurnError(ErrorKind.SERVICE_RESTARTED, "the service ended during this turn; send the message again")
_NO_FILES = (
    "the service ended during this turn, and no replica that has the session's folder {cwd} ran it again in "
    "time; put the folder back where a replica sees it, or DELETE the session, and send the message again"
)
_RUN_AGAIN = TurnError(ErrorKind.SERVICE_RESTARTED, "the service ended during this turn; it is run again")


class Takeover:
    """A turn in which a tool has started is ended, with events that say so: what the tool did, nobody knows.
    Any other is run again, once, for what is left of its time: `turn_seconds` at most since its message."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        live: LiveSessions,
        membership: Membership,
        workspaces: Workspaces,
        clock: Clock,
        ids: Ids,
        *,
        turn_seconds: float,
        telemetry: Telemetry,
    ) -> None:
        self._store = store
        self._journal = journal
        self._live = live
        self._membership = membership
        self._workspaces = workspaces
        self._clock = clock
        self._ids = ids
        self._turn_seconds = turn_seconds
        self._telemetry = telemetry
        self._is_full = False

    async def sweep(self) -> int:
        """Take over what can be taken over now. Returns how many turns; raises StorageError."""
        taken, last = 0, None
        self._is_full = False
        while orphans := await self._orphans(last):
            for session in orphans:
                if not self._live.is_in_use(session.id):
                    with self._live.taking_over(session.id):
                        taken += await self._try(session)
            if self._is_full:  # those behind would wait too
                break
            last = orphans[-1]
        return taken

    async def _orphans(self, after: Session | None) -> list[Session]:
        return await self._store.leases.orphans(self._membership.replica.id, _AT_ONCE, after=after)

    async def _try(self, session: Session) -> bool:
        """One that cannot be taken over keeps nobody from the others, nor a service from its start."""
        try:
            return await self._take(session)
        except ClaudeAgentError as error:
            _log.warning("a turn was not taken over", session_id=session.id, reason=str(error))
        except Exception:
            _log.exception("taking a turn over failed", session_id=session.id)
        return False

    async def _take(self, session: Session) -> bool:
        """False when it is another's, or waits for a place, or for a replica that sees its files. Nothing is
        claimed before that is known: who claims and gives back keeps the others from it meanwhile."""
        turn = await self._unfinished(session)
        is_to_run = turn is not None and self._may_run(turn)
        if turn is None or (is_to_run and not await self._can_run(session)):
            return False
        try:
            lease = await self._store.leases.claim(session.id, self._membership.replica.id)
            if lease is None:
                return False
            return await self._settle(session, lease, is_to_run)
        except (SessionNotFoundError, LeaseLostError):
            return False

    async def _can_run(self, session: Session) -> bool:
        try:
            self._live.check_adopt(session)
        except BusyError as error:
            self._is_full |= error.refusal is not Refusal.USER_SESSIONS
            return False
        if not self._store.is_shared or await self._workspaces.is_visible(session):
            return True
        _log.warning("a session's files are not on this replica's disk", session_id=session.id)
        return False

    async def _settle(self, session: Session, lease: Lease, is_to_run: bool) -> bool:
        """Only now nobody else goes on with the turn, so it is looked at again."""
        try:
            turn = await self._unfinished(session)
            if lease.replica_id != self._membership.replica.id:
                return False  # our time was up meanwhile, and with it the lease
            if turn is not None and turn.message is not None and self._may_run(turn):
                if is_to_run:  # else it is another turn, and whether it can be run was not asked
                    self._run(session, lease, turn, turn.message)
                    return True
                turn = None
            if turn is not None:  # else it has ended since it was found
                await self._end(session, lease, turn)
        except BusyError:
            await self._store.leases.release(lease)
            return False
        except Exception:
            await self._store.leases.release(lease)
            raise
        await self._store.leases.release(lease)
        return turn is not None

    async def _unfinished(self, session: Session) -> UnfinishedTurn | None:
        return await unfinished_turn(self._store.events, session.id, session.last_seq)

    def _may_run(self, turn: UnfinishedTurn) -> bool:
        if turn.message is None or turn.interrupt is not None or not self._is_to_repeat(turn):
            return False
        return self._seconds_left(turn.message) > 0

    @staticmethod
    def _is_to_repeat(turn: UnfinishedTurn) -> bool:
        """As far as it is known what was done in it."""
        most = _MOST_RUNS if turn.has_begun else _MOST_TRIES
        return turn.message is not None and not turn.tool_started and turn.runs < most

    def _seconds_left(self, message: Event) -> float:
        """No more than the turn may take, though another replica's clock may be ahead of this one's."""
        seconds = timeout_of(message.data, self._turn_seconds)
        age = (self._clock.now() - message.processed_at).total_seconds()
        return seconds - max(0.0, age)

    def _run(self, session: Session, lease: Lease, cut: UnfinishedTurn, message: Event) -> None:
        """Raises BusyError."""
        deadline = asyncio.get_running_loop().time() + self._seconds_left(message)
        turn = Turn(cut.id, session.id, cut.prompt, deadline, requests=cut.requests)
        turn.opened.set_result(message)
        again = self._again(cut)
        turn.requests.run_again()
        self._live.adopt(session, turn, again, lease)
        self._telemetry.takeover(Outcome.RERUN)
        _log.warning("a turn is run again", session_id=session.id, user_id=session.user_id, turn_id=turn.id)

    def _again(self, cut: UnfinishedTurn) -> list[NewEvent]:
        """What goes before; no error where nothing was lost."""
        ids = self._ids
        events = ended_requests(ids, cut.id, cut.requests.open)
        if cut.has_begun:
            events.append(vocabulary.session_error(ids.event_id(), cut.id, _RUN_AGAIN, retrying=True))
        events.append(vocabulary.status_rescheduled(ids.event_id(), cut.id))
        events.append(vocabulary.status_running(ids.event_id(), cut.id))
        return events

    async def _end(self, session: Session, lease: Lease, turn: UnfinishedTurn) -> None:
        cut_short = TurnEnd(
            StopReason.RETRIES_EXHAUSTED, error=await self._cause(session, turn), interrupted="restart"
        )
        end = turn.requests.completed(cut_short)
        events = closing_events(self._ids, turn.id, end, turn.requests.open)
        await self._journal.append(session.id, events, lease=lease)
        self._telemetry.takeover(Outcome.ENDED)
        _log.warning(
            "a turn that was cut short is ended",
            session_id=session.id,
            user_id=session.user_id,
            turn_id=turn.id,
        )

    async def _cause(self, session: Session, turn: UnfinishedTurn) -> TurnError:
        """What its owner can do. One that only waited for whoever has its files would, sent again, be refused
        for want of them."""
        waited = self._store.is_shared and self._is_to_repeat(turn)
        if not waited or await self._workspaces.is_visible(session):
            return _CUT
        return TurnError(ErrorKind.FILES_ELSEWHERE, _NO_FILES.format(cwd=session.cwd))
