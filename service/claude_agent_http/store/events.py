"""EventLog over SQL."""

from collections.abc import Sequence

from claude_agent_http.domain.errors import ClaudeAgentError
from claude_agent_http.domain.event import Event, EventType, NewEvent
from claude_agent_http.ports import Clock
from claude_agent_http.store.batch import Append, select_events, store_batch, to_append, to_event
from claude_agent_http.store.database import Database
from claude_agent_http.store.group_commit import GroupCommit
from claude_agent_http.store.tables import events


class SqlEventLog:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._commits: GroupCommit[Append, list[Event]] = GroupCommit(self._store)

    def start(self) -> None:
        self._commits.start()

    async def close(self) -> None:
        """Commits what was accepted."""
        await self._commits.close()

    async def append(self, session_id: str, events: Sequence[NewEvent]) -> list[Event]:
        return await self._commits.submit(to_append(session_id, events), len(events))

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

    async def _store(self, appends: Sequence[Append]) -> list[list[Event] | ClaudeAgentError]:
        now = self._clock.now()
        # Repeatable: events of the first try are found as repeats in the second.
        return await self._database.write(
            lambda connection: list(store_batch(connection, appends, now)), repeatable=True
        )
