"""Removing sessions and users for good, wherever they live."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from claude_agent_http.domain.errors import (
    BusyError,
    DrainingError,
    FilesElsewhereError,
    SessionNotFoundError,
)
from claude_agent_http.domain.event import SessionDeleted
from claude_agent_http.domain.session import Session
from claude_agent_http.domain.wakeup import Changed
from claude_agent_http.engine.hub import Hub
from claude_agent_http.engine.limits import Limits
from claude_agent_http.engine.live import LiveSessions
from claude_agent_http.engine.membership import Membership
from claude_agent_http.ports import Clock, Ids, RuntimeFactory, Store, Workspaces

_STOPPED_POLL_SECONDS = 0.05
_AT_ONCE = 10
_MOST_ROUNDS = 5
_ALL = 2**31 - 1
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Erased:
    """How many sessions and files of a user one request removed."""

    sessions: int
    files: int


class Removal:
    def __init__(
        self,
        store: Store,
        live: LiveSessions,
        membership: Membership,
        hub: Hub,
        runtimes: RuntimeFactory,
        workspaces: Workspaces,
        clock: Clock,
        ids: Ids,
        limits: Limits,
    ) -> None:
        self._store = store
        self._live = live
        self._membership = membership
        self._hub = hub
        self._runtimes = runtimes
        self._workspaces = workspaces
        self._clock = clock
        self._ids = ids
        self._most_seconds = limits.lease_seconds + limits.stop_seconds

    async def delete(self, session_id: str) -> None:
        """Raises SessionNotFoundError, DrainingError, StorageError."""
        session = await self._store.sessions.get(session_id)
        await self._live.end(session_id, lambda: self._remove(session))

    async def erase(self, user_id: str) -> Erased:
        """The sessions go first, for what runs could write new files. Each step can be repeated, and one that
        was cut short is found again: a session by its row, files by the user's name.

        Raises DrainingError, FilesElsewhereError, WorkspaceError, StorageError; BusyError when the user's
        sessions are created faster than they can be removed.
        """
        await self._check_files_are_here(user_id)
        sessions = files = 0
        for _ in range(_MOST_ROUNDS):
            sessions += await self._delete_all(user_id)
            files += await self._workspaces.erase(user_id)
            await self._runtimes.forget_user(user_id)
            if not await self._store.sessions.list_ids(user_id=user_id, limit=1):
                _log.info("a user was erased", user_id=user_id, sessions=sessions, files=files)
                return Erased(sessions, files)
        raise BusyError(
            f"sessions of user {user_id!r} are being created all the time; stop that and repeat the request",
            retry_after=5,
        )

    async def _check_files_are_here(self, user_id: str) -> None:
        """Before anything is removed: afterwards no row would tell where files were."""
        if not self._store.is_shared:
            return
        for session_id in await self._store.sessions.list_ids(user_id=user_id, limit=_ALL):
            try:
                session = await self._store.sessions.get(session_id)
            except SessionNotFoundError:
                continue
            if not await self._workspaces.is_visible(session):
                raise FilesElsewhereError(session_id, session.cwd)

    async def _delete_all(self, user_id: str) -> int:
        """How many sessions went. One that could not be deleted keeps none of the others."""
        if self._live.draining:
            raise DrainingError
        session_ids = await self._store.sessions.list_ids(user_id=user_id, limit=_ALL)
        gone, failures = 0, list[BaseException]()
        for first in range(0, len(session_ids), _AT_ONCE):
            for end in await self._delete_some(session_ids[first : first + _AT_ONCE]):
                if end is None:
                    gone += 1
                elif not isinstance(end, SessionNotFoundError):
                    failures.append(end)
        if failures:
            raise failures[0]
        return gone

    async def _delete_some(self, session_ids: Sequence[str]) -> list[BaseException | None]:
        return await asyncio.gather(*map(self.delete, session_ids), return_exceptions=True)

    async def _remove(self, session: Session) -> None:
        await self._stop_elsewhere(session.id)
        await self._store.sessions.delete(session.id)
        await self.conclude(session)

    async def conclude(self, session: Session) -> None:
        """Once its rows are gone: who reads it and the other replicas hear of it, and what its runtimes left
        on the disk goes too."""
        self._store.wakeups.tell(Changed(session.id))
        self._hub.end(SessionDeleted(session.id, self._ids.event_id(), self._clock.now()))
        await self._runtimes.forget(session)

    async def _stop_elsewhere(self, session_id: str) -> None:
        """Take the session from whichever replica has it, and wait until nothing of it runs there."""
        if not self._store.is_shared:
            return
        _, former = await self._store.leases.seize(session_id, self._membership.replica.id)
        if former is None:
            return
        self._store.wakeups.tell(Changed(session_id))
        loop = asyncio.get_running_loop()
        last = loop.time() + self._most_seconds
        while not await self._store.leases.has_stopped(former) and loop.time() < last:  # noqa: ASYNC110
            await asyncio.sleep(_STOPPED_POLL_SECONDS)
