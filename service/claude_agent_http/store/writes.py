"""The writes of turns, events and transcripts alike: committed in the order they came in, many at once."""

from collections.abc import Sequence

from sqlalchemy import Connection

from claude_agent_http.domain.errors import ClaudeAgentError
from claude_agent_http.domain.event import Event
from claude_agent_http.ports import Clock
from claude_agent_http.store.batch import Append, lock_sessions, store_batch
from claude_agent_http.store.database import Database
from claude_agent_http.store.entries import Entries, store_entries
from claude_agent_http.store.group_commit import GroupCommit

Write = Append | Entries

# A transcript's end comes shortly before the events that close its turn, and goes into their transaction.
_ENTRIES_PATIENCE_SECONDS = 0.005


class Writes:
    """Owns the committing task of a store: `start` it once, `close` it to commit what was accepted."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._commits: GroupCommit[Write, list[Event]] = GroupCommit(self._store)

    def start(self) -> None:
        self._commits.start()

    async def close(self) -> None:
        await self._commits.close()

    async def append(self, append: Append) -> list[Event]:
        """The stored events, after their commit. Raises what `EventLog.append` does."""
        return await self._commits.submit(append, len(append.events))

    async def keep(self, entries: Entries) -> None:
        """Returns after the commit. Raises LeaseLostError, StorageError."""
        await self._commits.submit(entries, len(entries.rows), patience=_ENTRIES_PATIENCE_SECONDS)

    async def _store(self, writes: Sequence[Write]) -> list[list[Event] | ClaudeAgentError]:
        now = self._clock.now()

        def work(connection: Connection) -> list[list[Event] | ClaudeAgentError]:
            known = lock_sessions(connection, {session_id for write in writes for session_id in _ids(write)})
            appends = [write for write in writes if isinstance(write, Append)]
            entries = [write for write in writes if isinstance(write, Entries)]
            stored = iter(store_batch(connection, appends, known, now))
            kept = iter(store_entries(connection, entries, known, now))
            return [next(stored) if isinstance(write, Append) else (next(kept) or []) for write in writes]

        # Repeatable: what the first try stored is found as a repeat in the second, but for entries without
        # a uuid, which say the same when they stand there twice.
        return await self._database.write(work, repeatable=True)


def _ids(write: Write) -> list[str]:
    """The sessions whose rows the write needs."""
    if isinstance(write, Append):
        return [write.session_id]
    return [] if write.lease is None else [write.lease.session_id]
