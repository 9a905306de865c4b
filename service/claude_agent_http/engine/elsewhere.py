"""Turns that another replica runs, for those who wait for them here."""

import asyncio
from contextlib import aclosing

import structlog

from claude_agent_http.domain import vocabulary
from claude_agent_http.domain.errors import ClaudeAgentError, DrainingError
from claude_agent_http.domain.event import Event, EventType
from claude_agent_http.domain.turn import ErrorKind, TurnEnd
from claude_agent_http.engine.follow import Follower
from claude_agent_http.engine.hub import Hub
from claude_agent_http.engine.journal import Journal
from claude_agent_http.engine.turn import Turn
from claude_agent_http.engine.turn_log import ending
from claude_agent_http.ports import EventLog, Ids

_log = structlog.get_logger(__name__)


class Elsewhere:
    """All that it knows of a turn it reads in the log, and all that it says to it stands there too.

    `late_seconds`: how much longer than its time a turn may take to show its end in the log.
    """

    def __init__(self, log: EventLog, journal: Journal, hub: Hub, ids: Ids, *, late_seconds: float) -> None:
        self._log = log
        self._journal = journal
        self._hub = hub
        self._ids = ids
        self._late_seconds = late_seconds
        self._tasks: dict[Turn, asyncio.Task[None]] = {}

    @property
    def turns(self) -> list[Turn]:
        return list(self._tasks)

    async def open(self, turn: Turn) -> None:
        """Store the turn's message for whoever runs the session, and follow what becomes of it.

        Raises what `EventLog.append` does.
        """
        message = vocabulary.user_message(turn.id, turn.prompt)
        running = vocabulary.status_running(self._ids.event_id(), turn.id)
        stored = await self._journal.append(turn.session_id, [message, running], opens_turn=True)
        turn.opened.set_result(stored[0])
        self.follow(turn)

    def follow(self, turn: Turn) -> None:
        """Settle `turn.ended` by what the log tells. The turn's message is stored."""
        self._hub.give_up(turn.session_id)
        task = asyncio.create_task(self._settle(turn), name=f"turn-elsewhere {turn.id}")
        self._tasks[turn] = task
        task.add_done_callback(lambda _: self._tasks.pop(turn, None))

    async def interrupt(self, session_id: str, turn_id: str, reason: str) -> None:
        """Ask whoever runs the turn to end it. Raises what `EventLog.append` does."""
        event = vocabulary.user_interrupt(self._ids.event_id(), turn_id, reason)
        await self._journal.append(session_id, [event])

    async def stop(self) -> None:
        """Nobody waits here any more; the turns go on."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _settle(self, turn: Turn) -> None:
        end = TurnEnd.failed(ErrorKind.SERVICE_RESTARTED, str(DrainingError()))
        interrupting = asyncio.create_task(self._pass_on_interrupt(turn), name=f"turn-interrupt {turn.id}")
        try:
            async with asyncio.timeout_at(turn.deadline + self._late_seconds):
                end = await self._end_of(turn)
        except TimeoutError:
            message = "no replica of the service has ended the turn in its time; read /events later"
            end = TurnEnd.failed(ErrorKind.RUNTIME_UNRESPONSIVE, message)
        except ClaudeAgentError as error:
            end = TurnEnd.failed(ErrorKind.STORAGE_FAILED, str(error))
        finally:
            interrupting.cancel()
            await asyncio.gather(interrupting, return_exceptions=True)
            if not turn.ended.done():
                turn.ended.set_result(end)

    async def _end_of(self, turn: Turn) -> TurnEnd:
        seen: list[Event] = []
        after = turn.opened.result().seq
        with self._hub.subscribe(turn.session_id) as subscription:
            follower = Follower(self._log, self._hub, turn.session_id, after=after, deltas=False)
            async with aclosing(follower.items(subscription)) as items:
                async for item in items:
                    if isinstance(item, Event) and item.turn_id == turn.id:
                        seen.append(item)
                        if item.type is EventType.STATUS_IDLE:
                            return ending(seen)
        return TurnEnd.failed(ErrorKind.SERVICE_RESTARTED, "the session ended before its turn did")

    async def _pass_on_interrupt(self, turn: Turn) -> None:
        reason = await turn.interrupt_due()
        try:
            await self.interrupt(turn.session_id, turn.id, reason)
        except ClaudeAgentError as error:
            _log.warning("an interrupt was not passed on", turn_id=turn.id, reason=str(error))
