"""Approvals for those who decide about them, on whichever replica they ask."""

from collections.abc import Sequence

from claude_agent_http.domain.approval import Approval, Decision
from claude_agent_http.domain.errors import ApprovalConflictError, ApprovalNotFoundError, ApprovalOverError
from claude_agent_http.domain.event import Event, EventType
from claude_agent_http.domain.session import Session, SessionPhase
from claude_agent_http.domain.vocabulary import tool_confirmation
from claude_agent_http.engine.journal import Journal
from claude_agent_http.engine.live import LiveSessions
from claude_agent_http.engine.turn_log import events_behind, unfinished_turn
from claude_agent_http.ports import EventLog

__all__ = ["Decisions"]

_ASKED = frozenset({EventType.TOOL_APPROVAL_REQUESTED, EventType.USER_TOOL_CONFIRMATION})
_OVER = frozenset({EventType.STATUS_IDLE, EventType.STATUS_RESCHEDULED})


class Decisions:
    """A decision is an event: who stores it first has decided, and whoever runs the turn finds it there."""

    def __init__(self, log: EventLog, journal: Journal, live: LiveSessions) -> None:
        self._log = log
        self._journal = journal
        self._live = live

    async def pending(self, session: Session) -> Sequence[Approval]:
        """Those that the session's turn waits for, oldest first."""
        here = self._live.turn_of(session.id)
        if session.phase is not SessionPhase.RUNNING or (here is not None and here.approvals.are_none):
            return ()  # known without the log, which would be read at each look at a running session
        turn = await unfinished_turn(self._log, session.id, session.last_seq)
        return () if turn is None else tuple(turn.approvals.values())

    async def decide(
        self, session_id: str, approval_id: str, decision: Decision, reason: str | None
    ) -> Event:
        """The stored decision, also when it was made before. Raises ApprovalNotFoundError,
        ApprovalConflictError, ApprovalOverError, SessionNotFoundError, StorageError."""
        requested, confirmation = await self._find(session_id, approval_id)
        if confirmation is None:
            await self._check_not_over(requested)
            confirmation = await self._store(requested, decision, reason)
        await self._check_not_over(requested, confirmation)
        if confirmation.data["result"] != decision:
            raise ApprovalConflictError(confirmation.data["result"], confirmation.data["decided_by"])
        return confirmation

    async def _find(self, session_id: str, approval_id: str) -> tuple[Event, Event | None]:
        events = await events_behind(self._log, session_id, 0, types=_ASKED)
        requests = (one for one in events if one.type is EventType.TOOL_APPROVAL_REQUESTED)
        requested = next((one for one in requests if one.id == approval_id), None)
        if requested is None:
            raise ApprovalNotFoundError(approval_id)
        decided = (one for one in events if one.data.get("approval_id") == approval_id)
        return requested, next(decided, None)

    async def _store(self, requested: Event, decision: Decision, reason: str | None) -> Event:
        use = requested.data["tool_use_id"]
        decided = tool_confirmation(requested.id, requested.turn_id, use, decision, reason)
        [stored] = await self._journal.append(requested.session_id, [decided])
        turn = self._live.turn_of(requested.session_id)
        if turn is not None:
            turn.approvals.hear(stored)
        return stored

    async def _check_not_over(self, requested: Event, confirmation: Event | None = None) -> None:
        """A decision that came behind the end of what it is about decides nothing."""
        over = await self._log.read(requested.session_id, after=requested.seq, limit=1, types=_OVER)
        if over and (confirmation is None or over[0].seq < confirmation.seq):
            raise ApprovalOverError
