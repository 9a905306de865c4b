"""The event log with its readers: an append returns after the commit and wakes whoever follows."""

from collections.abc import Sequence

from claude_agent_http.domain.event import Event, NewEvent
from claude_agent_http.engine.hub import Hub
from claude_agent_http.ports import EventLog


class Journal:
    def __init__(self, log: EventLog, hub: Hub) -> None:
        self._log = log
        self._hub = hub

    async def append(self, session_id: str, events: Sequence[NewEvent]) -> list[Event]:
        ends = self._hub.ends
        stored = await self._log.append(session_id, events)
        # A session that was deleted meanwhile has no head; not to ask which one it was costs a read at most.
        self._hub.publish(session_id, stored, is_head=self._hub.ends == ends)
        return stored
