"""What other replicas did to the sessions that live here: a message, a decision, an interrupt, an end."""

import asyncio
from collections.abc import Iterable

from claude_agent_http.domain.errors import BusyError
from claude_agent_http.domain.event import Event, EventType
from claude_agent_http.domain.session import SessionHead, SessionPhase, SessionStatus
from claude_agent_http.domain.vocabulary import timeout_of
from claude_agent_http.engine.live import LiveSessions
from claude_agent_http.engine.turn import Turn
from claude_agent_http.engine.turn_log import events_behind, unfinished_turn
from claude_agent_http.engine.worker import SessionWorker
from claude_agent_http.ports import EventLog

_SAID = frozenset({EventType.USER_INTERRUPT, EventType.USER_TOOL_CONFIRMATION})


class Inbox:
    """See `watch.Held`."""

    def __init__(self, live: LiveSessions, log: EventLog, *, turn_seconds: float) -> None:
        self._live = live
        self._log = log
        self._turn_seconds = turn_seconds

    def held(self) -> Iterable[str]:
        return self._live.held()

    async def look(self, session_id: str, head: SessionHead | None) -> None:
        worker = self._live.worker(session_id)
        lease = worker.journal.lease if worker is not None else None
        if worker is None or lease is None:
            return
        if head is None:
            worker.discard()
        elif head.lease_epoch > lease.epoch:  # Not "differs": the row may have been read before our claim.
            worker.lose()
        elif worker.turn is not None:
            await self._look_for_word(worker, worker.turn, head)
        elif head.phase is SessionPhase.RUNNING:
            await self._take_in(worker, head)
        elif head.status is SessionStatus.CLOSED:
            worker.hibernate()

    async def _look_for_word(self, worker: SessionWorker, turn: Turn, head: SessionHead) -> None:
        """The log has grown by another hand than this turn's."""
        if not turn.opened.done() or turn.interrupt_reason is not None:
            return
        if not worker.journal.may_hold_foreign(head.last_seq):
            return
        said = await self._said(turn)
        worker.journal.was_read(head.last_seq)  # not before: a read that fails is to be tried again
        if worker.turn is turn:
            for event in said:
                _hear(turn, event)

    async def _said(self, turn: Turn) -> list[Event]:
        """What users said to the turn since it began."""
        began = turn.opened.result().seq
        said = await events_behind(self._log, turn.session_id, began, types=_SAID)
        return [event for event in said if event.turn_id == turn.id]

    async def _take_in(self, worker: SessionWorker, head: SessionHead) -> None:
        """A turn that was opened on another replica. When there is no place for it, or somebody has run it
        before, or this replica goes, the session is given up, for whoever takes it over."""
        if worker.debt:
            return
        found = await unfinished_turn(self._log, head.id, head.last_seq)
        if found is None or found.message is None or not worker.may_take_in(found.id):
            return
        if self._live.draining or found.has_begun or found.tool_started or found.runs > 1:
            worker.hibernate()
            return
        seconds = timeout_of(found.message.data, self._turn_seconds)
        deadline = asyncio.get_running_loop().time() + seconds
        turn = Turn(found.id, head.id, found.prompt, deadline)
        turn.opened.set_result(found.message)
        if found.interrupt is not None:
            turn.interrupt(found.interrupt, is_stored=True)
        try:
            self._live.take_in(worker, turn)
        except BusyError:
            worker.hibernate()


def _hear(turn: Turn, event: Event) -> None:
    if event.type is EventType.USER_TOOL_CONFIRMATION:
        turn.approvals.hear(event)
    else:
        turn.interrupt(event.data["reason"], is_stored=True)
