"""One turn that another replica runs: its end, and its interrupt, by way of the log."""

import asyncio
from contextlib import aclosing

import structlog

from claude_agent_http.domain import vocabulary
from claude_agent_http.domain.errors import ClaudeAgentError, DrainingError, SessionNotFoundError
from claude_agent_http.domain.event import Event, EventType
from claude_agent_http.domain.turn import ErrorKind, TurnEnd
from claude_agent_http.engine.follow import Follower
from claude_agent_http.engine.hub import Hub
from claude_agent_http.engine.journal import Journal
from claude_agent_http.engine.turn import TIMEOUT, Turn
from claude_agent_http.engine.turn_log import ending
from claude_agent_http.ports import EventLog, Ids

_RETRY_SECONDS = 0.5
_ALLOWED_SECONDS = 1.0  # for who runs the turn, and knows its time too, to end it first
_log = structlog.get_logger(__name__)


class TurnElsewhere:
    """The turn's message is stored. A database that fails for a moment only delays what is told here."""

    def __init__(self, turn: Turn, log: EventLog, journal: Journal, hub: Hub, ids: Ids) -> None:
        self._turn = turn
        self._log = log
        self._journal = journal
        self._hub = hub
        self._ids = ids
        self._trouble: ClaudeAgentError | None = None
        self._is_interrupted = False

    async def settle(self, until: float) -> None:
        """`turn.ended` tells what the log does, or why that is not known by then, in the loop's time."""
        end = TurnEnd.failed(ErrorKind.SERVICE_RESTARTED, str(DrainingError()))
        interrupting = asyncio.create_task(self._pass_on_interrupt(), name=f"turn-interrupt {self._turn.id}")
        try:
            async with asyncio.timeout_at(until):
                end = await self._end()
        except TimeoutError:
            end = self._not_told()
        except Exception:
            _log.exception("a turn elsewhere could not be followed", turn_id=self._turn.id)
            end = TurnEnd.failed(ErrorKind.INTERNAL, "the service failed unexpectedly; its log says why")
        finally:
            interrupting.cancel()
            await asyncio.gather(interrupting, return_exceptions=True)
            if not self._turn.ended.done():
                self._turn.ended.set_result(end)

    async def _end(self) -> TurnEnd:
        while True:
            try:
                return await self._followed()
            except ClaudeAgentError as error:
                self._trouble = error
                _log.warning("what becomes of a turn elsewhere is not known", **self._ids_of(error))
                await asyncio.sleep(_RETRY_SECONDS)

    async def _followed(self) -> TurnEnd:
        seen: list[Event] = []
        turn = self._turn
        with self._hub.subscribe(turn.session_id) as subscription:
            after = turn.opened.result().seq
            follower = Follower(self._log, self._hub, turn.session_id, after=after, deltas=False)
            async with aclosing(follower.items(subscription)) as items:
                async for item in items:
                    self._trouble = None
                    if isinstance(item, Event) and item.turn_id == turn.id:
                        seen.append(item)
                        self._is_interrupted |= item.type is EventType.USER_INTERRUPT
                        if item.type is EventType.STATUS_IDLE:
                            return ending(seen)
        return TurnEnd.failed(ErrorKind.SERVICE_RESTARTED, "the session ended before its turn did")

    def _not_told(self) -> TurnEnd:
        if self._trouble is not None:
            return TurnEnd.failed(ErrorKind.STORAGE_FAILED, str(self._trouble))
        message = "no replica of the service has ended the turn in its time; read /events later"
        return TurnEnd.failed(ErrorKind.RUNTIME_UNRESPONSIVE, message)

    async def _pass_on_interrupt(self) -> None:
        turn = self._turn
        reason = await turn.interrupt_due()
        self._is_interrupted |= turn.interrupt_is_stored
        if reason == TIMEOUT:
            await asyncio.sleep(_ALLOWED_SECONDS)
        interrupt = vocabulary.user_interrupt(self._ids.event_id(), turn.id, reason)
        while not self._is_interrupted:
            try:
                await self._journal.append(turn.session_id, [interrupt])
                return
            except SessionNotFoundError:
                return
            except ClaudeAgentError as error:
                _log.warning("an interrupt was not passed on", **self._ids_of(error))
                await asyncio.sleep(_RETRY_SECONDS)

    def _ids_of(self, error: ClaudeAgentError) -> dict[str, str]:
        return {"session_id": self._turn.session_id, "turn_id": self._turn.id, "reason": str(error)}
