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
from claude_agent_http.domain.session import SessionPhase, SessionStatus
from claude_agent_http.domain.telemetry import Refusal
from claude_agent_http.domain.turn import TurnEnd
from claude_agent_http.engine.elsewhere import Elsewhere
from claude_agent_http.engine.limits import Limits
from claude_agent_http.engine.live import LiveSessions
from claude_agent_http.engine.telemetry import tell_refusal
from claude_agent_http.engine.turn import TIMEOUT, Turn
from claude_agent_http.engine.turn_log import unfinished_turn
from claude_agent_http.engine.whereabouts import Whereabouts
from claude_agent_http.ports import Ids, Store, Telemetry

_PAGE = 500


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
    ) -> None:
        self._store = store
        self._live = live
        self._whereabouts = whereabouts
        self._elsewhere = elsewhere
        self._ids = ids
        self._limits = limits
        self._telemetry = telemetry
        self._lost = lost

    async def send(self, session_id: str, text: str, seconds: float | None) -> Turn:
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
        events: list[Event] = []
        after = turn.opened.result().seq - 1
        while True:
            page = await self._store.events.read(turn.session_id, after=after, limit=_PAGE)
            events += [event for event in page if event.turn_id == turn.id]
            if len(page) < _PAGE:
                return events
            after = page[-1].seq

    async def _opened_here(self, turn: Turn) -> bool:
        """False when another replica has the session."""
        session = self._live.session(turn.session_id) or await self._store.sessions.get(turn.session_id)
        if session.status is not SessionStatus.ACTIVE:
            raise SessionClosedError(session.id)
        if self._live.draining:
            raise DrainingError
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
