"""EventLog over SQL."""

from collections.abc import Sequence

from claude_agent_http.domain.event import Event, EventType, NewEvent
from claude_agent_http.domain.lease import Lease
from claude_agent_http.store.batch import select_events, to_append, to_event
from claude_agent_http.store.database import Database
from claude_agent_http.store.tables import events
from claude_agent_http.store.writes import Writes


class SqlEventLog:
    def __init__(self, database: Database, writes: Writes) -> None:
        self._database = database
        self._writes = writes

    async def append(
        self,
        session_id: str,
        events: Sequence[NewEvent],
        *,
        lease: Lease | None = None,
        opens_turn: bool = False,
    ) -> list[Event]:
        return await self._writes.append(to_append(session_id, events, lease, opens_turn=opens_turn))

    async def read(
        self, session_id: str, *, after: int = 0, limit: int = 100, types: frozenset[EventType] | None = None
    ) -> list[Event]:
        query = select_events().where(events.c.session_id == session_id, events.c.seq > after)
        if types is not None:
            query = query.where(events.c.type.in_(sorted(types)))
        query = query.order_by(events.c.seq).limit(limit)
        return await self._database.read(
            lambda connection: [to_event(row) for row in connection.execute(query)]
        )
