"""Turns for those who ask for them: opened here or where the session lives, waited for, interrupted."""

import asyncio
from collections.abc import Callable

from claude_agent_http.domain.errors import (
    ClaudeAgentError,
    DrainingError,
    LeaseLostError,
    SessionClosedError,
    TurnTimeoutError,
)
from claude_agent_http.domain.event import Event
from claude_agent_http.domain.session import Session, SessionPhase, SessionStatus
from claude_agent_http.domain.telemetry import Refusal
from claude_agent_http.domain.turn import TurnEnd
from claude_agent_http.engine.budgets import Budgets
from claude_agent_http.engine.elsewhere import Elsewhere
from claude_agent_http.engine.limits import Limits
from claude_agent_http.engine.live import LiveSessions
from claude_agent_http.engine.quota import DiskQuota
from claude_agent_http.engine.rates import TurnRates
from claude_agent_http.engine.telemetry import tell_refusal
from claude_agent_http.engine.turn import TIMEOUT, Turn
from claude_agent_http.engine.turn_log import events_behind, unfinished_turn
from claude_agent_http.engine.whereabouts import Whereabouts
from claude_agent_http.ports import Ids, Store, Telemetry


class Turns:
    """See `Engine`, which says what each does. `lost` is called when a session turns out to be another's."""

    def __init__(
        self,
        store: Store,
        live: LiveSessions,
        whereabouts: Whereabouts,
        elsewhere: Elsewhere,
        ids: Ids,
        limits: Limits,
        telemetry: Telemetry,
        *,
        lost: Callable[[], None],
        rates: TurnRates,
        quota: DiskQuota,
        budgets: Budgets | None = None,
    ) -> None:
        self._store = store
        self._live = live
        self._whereabouts = whereabouts
        self._elsewhere = elsewhere
        self._ids = ids
        self._limits = limits
        self._telemetry = telemetry
        self._lost = lost
        self._rates = rates
        self._quota = quota
        self._budgets = budgets

    async def send(self, session_id: str, text: str, seconds: float | None) -> Turn:
        limit = min(seconds or self._limits.turn_seconds, self._limits.turn_seconds)
        deadline = asyncio.get_running_loop().time() + limit
        turn = Turn(self._ids.event_id(), session_id, text, deadline)
        try:
            async with asyncio.timeout_at(deadline):
                session = await self._usable_session(session_id)
                turn.user_id = session.user_id
                with self._rates.beginning(session.user_id):
                    is_here = await self._opened_here(turn, session)
                    if not is_here:
                        turn = Turn(self._ids.event_id(), session_id, text, deadline, user_id=turn.user_id)
                        await self._elsewhere.open(turn)
        except TimeoutError:
            turn.interrupt(TIMEOUT)
            self._telemetry.message_refused(Refusal.TIMEOUT)
            raise TurnTimeoutError(limit) from None
        except ClaudeAgentError as error:
            tell_refusal(error, self._telemetry)
            raise
        self._rates.began(turn, is_here=is_here)
        return turn

    async def wait(self, turn: Turn, seconds: float) -> TurnEnd:
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

    async def interrupt(self, session_id: str, reason: str) -> bool:
        session = await self._store.sessions.get(session_id)
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

    async def events(self, turn: Turn) -> list[Event]:
        events = await events_behind(self._store.events, turn.session_id, turn.opened.result().seq - 1)
        return [event for event in events if event.turn_id == turn.id]

    async def _usable_session(self, session_id: str) -> Session:
        session = self._live.session(session_id) or await self._store.sessions.get(session_id)
        if session.status is not SessionStatus.ACTIVE:
            raise SessionClosedError(session.id)
        if self._live.draining:
            raise DrainingError
        return session

    async def _opened_here(self, turn: Turn, session: Session) -> bool:
        """False when another replica has the session."""
        await self._quota.check(session.user_id)
        if self._budgets is not None:
            await self._budgets.check(session.user_id, session.id)
        if await self._whereabouts.is_elsewhere(session):
            return False
        self._live.begin(session, turn)
        try:
            await asyncio.shield(turn.opened)
        except LeaseLostError:
            self._lost()
            if self._live.draining:
                raise DrainingError from None
            return False
        return True
