"""The place for a session's one turn: stores its message, hands it to whoever runs it, stores its end."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence

import structlog

from claude_agent_http.domain import vocabulary
from claude_agent_http.domain.errors import ClaudeAgentError, LeaseLostError, StorageError
from claude_agent_http.domain.event import NewEvent
from claude_agent_http.domain.session import Session
from claude_agent_http.domain.turn import ErrorKind, StopReason, TurnEnd
from claude_agent_http.engine.closing import closing_events, not_stored
from claude_agent_http.engine.debt import Debt
from claude_agent_http.engine.journal import SessionJournal
from claude_agent_http.engine.turn import Turn
from claude_agent_http.ports import Ids

_log = structlog.get_logger(__name__)


class TurnSlot:
    """`changed` is called whenever a turn comes or ends. `debt` is what the log still lacks. `lost` gets a
    turn that another replica has the word on now: how it ends is for the log to tell."""

    def __init__(
        self,
        session: Session,
        journal: SessionJournal,
        ids: Ids,
        debt: Debt,
        changed: Callable[[], None],
        lost: Callable[[Turn], None],
    ) -> None:
        self.debt = debt
        self._session = session
        self._journal = journal
        self._ids = ids
        self._changed = changed
        self._lost = lost
        self._turn: Turn | None = None
        self._taken: Turn | None = None
        self._end: TurnEnd | None = None
        self._free = asyncio.Event()
        self._opening: asyncio.Task[bool] | None = None
        self._waiting: asyncio.Task[None] | None = None

    @property
    def turn(self) -> Turn | None:
        """The turn in progress: while there is one the session is busy."""
        return self._turn

    @property
    def is_taken(self) -> bool:
        """Whether somebody runs the turn in progress."""
        return self._taken is not None

    def begin(self, turn: Turn) -> None:
        """Only while there is no turn. The message is stored at once, even while a runtime still starts."""
        message = vocabulary.user_message(turn.id, turn.prompt, turn.seconds_left)
        running = vocabulary.status_running(self._ids.event_id(), turn.id)
        self._have(turn, self._open(turn, [message, running]))

    def adopt(self, turn: Turn, first: Sequence[NewEvent]) -> None:
        """Like `begin`, of a turn whose message is in the log already, after storing the `first` events."""
        self._have(turn, self._open_again(turn, first))

    def _have(self, turn: Turn, opening: Coroutine[None, None, bool]) -> None:
        self._turn = turn
        self._free = asyncio.Event()
        self._opening = asyncio.create_task(opening, name=f"turn-open {turn.id}")
        self._waiting = asyncio.create_task(self._end_if_never_run(turn), name=f"turn-wait {turn.id}")
        self._changed()

    async def take(self) -> Turn | None:
        """The turn, for the caller to run and `end`; None when there is none, or somebody else ends it: after
        it has left this slot."""
        turn = self._turn
        if turn is None:
            return None
        free = self._free
        if not await self._claim(turn):
            # Not until it has ended: a turn that was lost may wait for this very worker to be gone.
            await free.wait()
            return None
        self._taken = turn
        if turn.interrupt_reason is not None:  # while its message was being stored
            await self._end_unrun(turn, turn.interrupt_reason)
            return None
        return turn

    def give_back(self, turn: Turn) -> bool:
        """Let another runtime run a turn of which nothing has happened; False when that was tried."""
        if not turn.give_back():
            return False
        self._taken = None
        return True

    async def end(self, turn: Turn, end: TurnEnd) -> None:
        """Store how the turn ended; what cannot be stored now is owed, and goes in before anything else.

        Whoever waits for the turn is told so then, for nobody is to know what the log does not.
        """
        if self._end is None:
            self._end = turn.requests.completed(end)
            self.debt.owe(closing_events(self._ids, turn.id, self._end, turn.requests.open))
        end = self._end  # Asked again after it was cancelled here: the first word stands.
        failure = await asyncio.shield(self.debt.settle())
        if isinstance(failure, LeaseLostError):
            self._release()
            turn.is_elsewhere = True
            self._lost(turn)
            return
        if failure is not None and end.error is None and end.interrupted is None:
            end = not_stored(failure)
        self._log_end(turn, end)
        self._release()
        turn.ended.set_result(end)

    async def fail(self, kind: ErrorKind, message: str) -> None:
        """End the turn that waits, if one does, with an error."""
        if turn := await self.take():
            await self.end(turn, TurnEnd.failed(kind, message))

    async def abandon(self, end: TurnEnd) -> None:
        """End whatever turn there is: nobody will run it any more."""
        turn = self._taken or await self.take()
        if turn is None:
            return
        try:
            await self.end(turn, end)
        finally:
            # Cancelled here too: the log learns of it at the next start.
            if not turn.ended.done() and not self._is_lost(turn):
                turn.ended.set_result(end)

    def _is_lost(self, turn: Turn) -> bool:
        return self._turn is not turn and self._journal.is_lost

    async def _open(self, turn: Turn, opening: Sequence[NewEvent]) -> bool:
        """Store the turn's message; if that fails the turn has ended."""
        try:
            if failure := await self.debt.settle():
                raise failure
            stored = await self._journal.append(opening, opens_turn=True)
        except Exception as unexpected:
            error = self._known(turn, unexpected)
            self._release()
            turn.opened.set_exception(error)
            turn.opened.exception()  # retrieved: whoever sent it may be gone
            turn.ended.set_result(not_stored(error))
            return False
        turn.opened.set_result(stored[0])
        return True

    async def _open_again(self, turn: Turn, first: Sequence[NewEvent]) -> bool:
        """If that fails nothing is lost: the turn stands in the log for whoever takes it over next."""
        try:
            if first:
                await self._journal.append(first)
        except ClaudeAgentError as error:
            self._release()
            turn.ended.set_result(not_stored(error))
            return False
        return True

    async def _claim(self, turn: Turn) -> bool:
        """Whether the message was stored and the turn is ours to end."""
        return self._opening is not None and await asyncio.shield(self._opening) and turn.claim()

    async def _end_if_never_run(self, turn: Turn) -> None:
        """A turn that is interrupted, or whose time is up, before its runtime is there ends at once."""
        reason = await turn.interrupt_due()
        if await self._claim(turn):
            await self._end_unrun(turn, reason)

    async def _end_unrun(self, turn: Turn, reason: str) -> None:
        if not turn.interrupt_is_stored:
            self.debt.owe([vocabulary.user_interrupt(self._ids.event_id(), turn.id, reason)])
        await self.end(turn, TurnEnd(StopReason.END_TURN, interrupted=reason))

    def _release(self) -> None:
        self._turn = self._taken = self._end = None
        self._free.set()
        if self._waiting is not None and self._waiting is not asyncio.current_task():
            self._waiting.cancel()
        self._changed()

    def _log_end(self, turn: Turn, end: TurnEnd) -> None:
        log = self._log(turn).bind(stop_reason=end.stop_reason.value, interrupted=end.interrupted)
        if end.error is None:
            log.info("turn ended")
        else:
            log.warning("turn failed", error=end.error.kind.value, reason=end.error.message)

    def _known(self, turn: Turn, error: Exception) -> ClaudeAgentError:
        if isinstance(error, ClaudeAgentError):
            return error
        self._log(turn).error("a message could not be stored", exc_info=error)
        return StorageError("the message could not be stored; the service's log says why")

    def _log(self, turn: Turn) -> structlog.stdlib.BoundLogger:
        ids = {"session_id": self._session.id, "user_id": self._session.user_id, "turn_id": turn.id}
        log: structlog.stdlib.BoundLogger = _log.bind(**ids)
        return log
