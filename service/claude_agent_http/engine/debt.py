"""Events that could not be stored when they happened: kept in order, and stored before anything newer."""

import asyncio
from collections.abc import Sequence

from claude_agent_http.domain.errors import ClaudeAgentError, SessionNotFoundError
from claude_agent_http.domain.event import NewEvent
from claude_agent_http.engine.journal import Journal


class Debt:
    def __init__(self, journal: Journal, session_id: str) -> None:
        self._journal = journal
        self._session_id = session_id
        self._events: list[NewEvent] = []
        self._settling = asyncio.Lock()

    def __bool__(self) -> bool:
        return bool(self._events)

    def owe(self, events: Sequence[NewEvent]) -> None:
        self._events += events

    async def settle(self) -> ClaudeAgentError | None:
        """Store what is owed. Returns the failure, which keeps the debt; a deleted session owes nothing."""
        async with self._settling:
            owed = list(self._events)
            if not owed:
                return None
            try:
                await self._journal.append(self._session_id, owed)
            except SessionNotFoundError:
                pass
            except ClaudeAgentError as error:
                return error
            del self._events[: len(owed)]
            return None
