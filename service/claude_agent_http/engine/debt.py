"""Events that could not be stored when they happened: kept in order, and stored before anything newer."""

import asyncio
from collections.abc import Sequence

from claude_agent_http.domain.errors import ClaudeAgentError, LeaseLostError, SessionNotFoundError
from claude_agent_http.domain.event import NewEvent
from claude_agent_http.engine.journal import SessionJournal


class Debt:
    def __init__(self, journal: SessionJournal) -> None:
        self._journal = journal
        self._events: list[NewEvent] = []
        self._settling = asyncio.Lock()

    def __bool__(self) -> bool:
        return bool(self._events)

    def owe(self, events: Sequence[NewEvent]) -> None:
        self._events += events

    async def settle(self) -> ClaudeAgentError | None:
        """Store what is owed. Returns the failure, which keeps the debt; a deleted session owes nothing, and
        of one that was taken over the new holder tells the end."""
        async with self._settling:
            owed = list(self._events)
            if not owed:
                return None
            try:
                await self._journal.append(owed)
            except SessionNotFoundError:
                pass
            except LeaseLostError as error:
                self._events.clear()
                return error
            except ClaudeAgentError as error:
                return error
            del self._events[: len(owed)]
            return None
