"""Erasing a user: all sessions, wherever they live, then whatever else is the user's."""

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
from claude_agent_http.engine.live import LiveSessions
from claude_agent_http.engine.removal import Removal
from claude_agent_http.ports import Clock, RuntimeFactory, Store, Workspaces

__all__ = ["Erased", "Erasure"]

_AT_ONCE = 10
_FOLDERS_AT_ONCE = 500
_MOST_ROUNDS = 5
_ALL = 2**31 - 1
_NOT_ERASED = "nothing was erased. Ask the replica that has it; if it was removed, DELETE that session first"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Erased:
    """How many sessions and files of a user one request removed."""

    sessions: int
    files: int


class Erasure:
    def __init__(
        self,
        store: Store,
        removal: Removal,
        live: LiveSessions,
        runtimes: RuntimeFactory,
        workspaces: Workspaces,
        clock: Clock,
    ) -> None:
        self._store = store
        self._removal = removal
        self._live = live
        self._runtimes = runtimes
        self._workspaces = workspaces
        self._clock = clock

    async def erase(self, user_id: str) -> Erased:
        """The sessions go first, for what runs could write new files; the user's API keys go last. Each step
        can be repeated, and one that was cut short is found again: a session by its row, the rest by the
        user's name.

        Raises DrainingError, FilesElsewhereError, NotDeletedError, WorkspaceError, StorageError; BusyError
        when the user's sessions are created faster than they can be removed.
        """
        await self._check_files_are_here(user_id)
        sessions = files = 0
        for _ in range(_MOST_ROUNDS):
            sessions += await self._delete_all(user_id)
            files += await self._workspaces.erase(user_id)
            await self._runtimes.forget_user(user_id)
            await self._store.api_keys.delete_of(user_id)
            if not await self._store.sessions.list_ids(user_id=user_id, limit=1):
                await self._store.usage.erase(user_id, self._clock.now().date())
                await self._scrub(user_id)
                _log.info("a user was erased", user_id=user_id, sessions=sessions, files=files)
                return Erased(sessions, files)
        raise BusyError(
            f"sessions of user {user_id!r} are being created all the time; stop that and repeat the request",
            retry_after=5,
        )

    async def _scrub(self, user_id: str) -> None:
        if not await self._store.scrub():
            _log.warning(
                "what was erased is still in the database's log, for another program reads it; it goes when "
                "a user is erased again or the service stops",
                user_id=user_id,
            )

    async def _check_files_are_here(self, user_id: str) -> None:
        """Before anything is removed: afterwards no row would tell where files were."""
        if not self._store.is_shared:
            return
        last: str | None = None
        while some := await self._store.sessions.one_a_folder(user_id, limit=_FOLDERS_AT_ONCE, after=last):
            visible = await asyncio.gather(*map(self._workspaces.is_visible, some))
            for session, is_here in zip(some, visible, strict=True):
                if not is_here:
                    raise FilesElsewhereError(session.id, session.cwd, _NOT_ERASED)
            last = some[-1].cwd

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
        return await asyncio.gather(*map(self._removal.delete, session_ids), return_exceptions=True)
