"""Turns that another replica runs, for those who wait for them here."""

import asyncio
from collections.abc import Coroutine

import structlog

from claude_agent_http.domain import vocabulary
from claude_agent_http.domain.errors import ClaudeAgentError, DrainingError, StorageError
from claude_agent_http.engine.closing import not_stored
from claude_agent_http.engine.hub import Hub
from claude_agent_http.engine.journal import Journal
from claude_agent_http.engine.no_longer import cancelled
from claude_agent_http.engine.turn import Turn
from claude_agent_http.engine.turn_elsewhere import TurnElsewhere
from claude_agent_http.ports import EventLog, Ids

_log = structlog.get_logger(__name__)


class Elsewhere:
    """All that it knows of a turn it reads in the log, and all that it says to it stands there too.

    Owns a task for each turn. `late_seconds`: how much longer than its time a turn may take to show its end
    in the log.
    """

    def __init__(self, log: EventLog, journal: Journal, hub: Hub, ids: Ids, *, late_seconds: float) -> None:
        self._log = log
        self._journal = journal
        self._hub = hub
        self._ids = ids
        self._late_seconds = late_seconds
        self._tasks: dict[Turn, asyncio.Task[None]] = {}
        self._closed = False

    async def open(self, turn: Turn) -> None:
        """Store the turn's message for whoever runs the session, and follow what becomes of it: also when
        the caller is cancelled, for then the message may be stored all the same, and is to be interrupted.

        Raises what `EventLog.append` does, DrainingError.
        """
        if self._closed:
            raise DrainingError
        self._own(turn, self._open(turn))
        await asyncio.shield(turn.opened)

    def follow(self, turn: Turn) -> None:
        """Settle `turn.ended` by what the log tells. The turn's message is stored."""
        self._own(turn, self._settle(turn))

    async def interrupt(self, session_id: str, turn_id: str, reason: str) -> None:
        """Ask whoever runs the turn to end it. Raises what `EventLog.append` does."""
        event = vocabulary.user_interrupt(self._ids.event_id(), turn_id, reason)
        await self._journal.append(session_id, [event])

    def close(self) -> None:
        """From now on no turn is opened."""
        self._closed = True

    async def drain(self, until: float) -> None:
        """Wait for the turns that somebody waits for, also those that come meanwhile, until that time of the
        loop's."""
        while self._tasks and (left := until - asyncio.get_running_loop().time()) > 0:
            await asyncio.wait(self._tasks.values(), timeout=left)

    async def stop(self) -> None:
        """Nobody waits here any more; the turns go on."""
        await cancelled(set(self._tasks.values()))

    def _own(self, turn: Turn, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work, name=f"turn-elsewhere {turn.id}")
        self._tasks[turn] = task
        task.add_done_callback(lambda _: self._tasks.pop(turn, None))

    async def _open(self, turn: Turn) -> None:
        message = vocabulary.user_message(turn.id, turn.prompt, turn.seconds_left)
        running = vocabulary.status_running(self._ids.event_id(), turn.id)
        error: ClaudeAgentError = StorageError("the message may be stored or not; its session's /events tell")
        try:
            stored = await self._journal.append(turn.session_id, [message, running], opens_turn=True)
        except ClaudeAgentError as refusal:
            error = refusal
        except Exception:
            _log.exception("a message could not be stored", session_id=turn.session_id, turn_id=turn.id)
        else:
            turn.opened.set_result(stored[0])
            await self._settle(turn)
        finally:
            if not turn.opened.done():
                turn.opened.set_exception(error)
                turn.opened.exception()  # retrieved: whoever sent it may be gone
                turn.ended.set_result(not_stored(error))

    async def _settle(self, turn: Turn) -> None:
        self._hub.give_up(turn.session_id)
        elsewhere = TurnElsewhere(turn, self._log, self._journal, self._hub, self._ids)
        await elsewhere.settle(turn.deadline + self._late_seconds)
