"""Writing one turn's events in order, without the turn waiting for each commit."""

import asyncio

from claude_agent_http.domain.errors import ClaudeAgentError
from claude_agent_http.domain.event import NewEvent
from claude_agent_http.engine.journal import Journal

_WAITING_LIMIT = 256


class TurnWriter:
    """Writes one turn's events in order without making the turn wait for each commit.

    Events that come in while a commit runs go together into the next one. Use as a context manager; a
    failed append is raised by the next `put`, `commit` or `flush`; what it could not store is `unstored`.
    """

    def __init__(self, journal: Journal, session_id: str) -> None:
        self._journal = journal
        self._session_id = session_id
        self._waiting: list[NewEvent] = []
        self._changed = asyncio.Condition()
        self._accepted = 0
        self._stored = 0
        self._failure: ClaudeAgentError | None = None
        self._closing = False
        self.unstored: list[NewEvent] = []
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "TurnWriter":
        self._task = asyncio.create_task(self._run(), name=f"turn-writer {self._session_id}")
        return self

    async def __aexit__(self, *_: object) -> None:
        async with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._task is not None:
            await asyncio.shield(self._task)
        self.unstored += self._waiting

    async def put(self, event: NewEvent) -> int:
        """Queue an event, waiting while the queue is full. Returns its number for `stored`."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._failure or len(self._waiting) < _WAITING_LIMIT)
            self._raise_failure()
            self._waiting.append(event)
            self._accepted += 1
            self._changed.notify_all()
            return self._accepted

    async def commit(self, event: NewEvent) -> None:
        """Queue an event and return when it, and all before it, are stored."""
        number = await self.put(event)
        await self._wait_stored(number)

    async def flush(self) -> None:
        """Return when all that was put is stored."""
        await self._wait_stored(self._accepted)

    async def _wait_stored(self, number: int) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._failure or self._stored >= number)
            if self._stored < number:
                self._raise_failure()

    async def _run(self) -> None:
        while batch := await self._next_batch():
            failure = await self._write(batch)
            async with self._changed:
                self._failure = failure
                self._stored += 0 if failure else len(batch)
                self._changed.notify_all()
            if failure:
                self.unstored += batch
                return

    async def _next_batch(self) -> list[NewEvent]:
        async with self._changed:
            await self._changed.wait_for(lambda: self._waiting or self._closing)
            batch, self._waiting = self._waiting, []
            self._changed.notify_all()
            return batch

    async def _write(self, batch: list[NewEvent]) -> ClaudeAgentError | None:
        try:
            await self._journal.append(self._session_id, batch)
        except ClaudeAgentError as error:
            return error
        return None

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
