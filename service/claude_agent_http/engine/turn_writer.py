"""Writing one turn's events in order, without the turn waiting for each commit."""

import asyncio

from claude_agent_http.domain.errors import ClaudeAgentError
from claude_agent_http.domain.event import NewEvent
from claude_agent_http.engine.journal import SessionJournal

_WAITING_LIMIT = 256
_GATHER_SECONDS = 0.02


class TurnWriter:
    """Writes one turn's events in order without making the turn wait for each commit.

    What comes within a few milliseconds, or while a commit runs, goes together into the next one. Use as a
    context manager. A failed append is raised by the next `put` or `commit`; what was not stored by the exit
    is `unstored`: the caller's to store, with the events that end the turn.
    """

    def __init__(self, journal: SessionJournal) -> None:
        self._journal = journal
        self._waiting: list[NewEvent] = []
        self._accepted = 0
        self._stored = 0
        self._failure: ClaudeAgentError | None = None
        self._due: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None
        self.unstored: list[NewEvent] = []

    async def __aenter__(self) -> "TurnWriter":
        return self

    async def __aexit__(self, *_: object) -> None:
        self._failure = self._failure or ClaudeAgentError("the turn is over")
        last, self._waiting = self._waiting, []
        if self._due is not None:
            self._due.cancel()
        try:
            if self._writing is not None:
                await asyncio.shield(self._writing)
        finally:
            self.unstored += last

    async def put(self, event: NewEvent) -> int:
        """Queue an event, waiting while the queue is full. Returns its number, counted from 1."""
        while len(self._waiting) >= _WAITING_LIMIT:
            await self._write()
        self._raise_failure()
        self._waiting.append(event)
        self._accepted += 1
        self._write_soon()
        return self._accepted

    async def commit(self, event: NewEvent) -> None:
        """Queue an event and return when it, and all before it, are stored."""
        number = await self.put(event)
        while self._stored < number:
            await self._write()

    async def _write(self) -> None:
        """Write what waits; while a batch is being written, wait for that one."""
        self._raise_failure()
        await asyncio.shield(self._begin())
        self._raise_failure()

    def _write_soon(self) -> None:
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(_GATHER_SECONDS, self._begin)

    def _begin(self) -> asyncio.Task[None]:
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(
                self._write_batch(), name=f"turn-writer {self._journal.session_id}"
            )
        return self._writing

    async def _write_batch(self) -> None:
        batch, self._waiting = self._waiting, []
        try:
            await self._journal.append(batch)
        except BaseException as error:
            self.unstored += batch
            if not isinstance(error, ClaudeAgentError):
                raise
            self._failure = error
            return
        self._stored += len(batch)
        if self._waiting:
            self._write_soon()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
