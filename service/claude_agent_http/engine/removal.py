"""Removing sessions and users for good, wherever they live."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime

import structlog

from claude_agent_http.domain.errors import (
    BusyError,
    ClaudeAgentError,
    DrainingError,
    FilesElsewhereError,
    LeaseLostError,
    NotDeletedError,
    SessionNotFoundError,
)
from claude_agent_http.domain.event import SessionDeleted
from claude_agent_http.domain.lease import Lease
from claude_agent_http.domain.session import Session
from claude_agent_http.domain.wakeup import Changed
from claude_agent_http.engine.hub import Hub
from claude_agent_http.engine.limits import Limits
from claude_agent_http.engine.live import LiveSessions
from claude_agent_http.engine.membership import Membership
from claude_agent_http.ports import Clock, Ids, RuntimeFactory, Store, Workspaces

_STOPPED_POLL_SECONDS = 0.05
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
        """Raises SessionNotFoundError, DrainingError, NotDeletedError, StorageError."""
        session = await self._store.sessions.get(session_id)
        await self._live.end(session_id, lambda: self._remove(session))

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
        return await asyncio.gather(*map(self.delete, session_ids), return_exceptions=True)

    async def delete_closed(self, session_ids: Sequence[str], through: datetime) -> list[Session]:
        """Delete, of a part of `SessionStore.expired`, those that nobody uses. Returns them. Who wants to use
        one meanwhile is told to come again, and finds it whole when it was opened again in time.

        Raises StorageError.
        """
        free = [session_id for session_id in session_ids if not self._live.is_in_use(session_id)]
        with ExitStack() as kept:
            for session_id in free:
                kept.enter_context(self._live.taking_over(session_id))
            return await self._delete_claimed(free, through)

    async def _delete_claimed(self, session_ids: Sequence[str], through: datetime) -> list[Session]:
        sessions = self._store.sessions
        claimed = await sessions.claim_closed(session_ids, through, self._membership.replica.id)
        left = {session.id: session.lease for session in claimed if session.lease is not None}
        try:
            gone = await self._clear(claimed, lambda: sessions.delete_closed(list(left.values()), through))
            for session in gone:
                del left[session.id]
        finally:
            for lease in left.values():
                await self._give_up(lease)
        return gone

    async def _remove(self, session: Session) -> None:
        if self._store.is_shared:
            await self._remove_everywhere(session)
        else:
            await self._clear([session], lambda: self._delete(session))

    async def _remove_everywhere(self, session: Session) -> None:
        """Take the session from whichever replica has it, and wait until nothing of it runs there."""
        lease = await self._store.leases.seize(session.id, self._membership.replica.id)
        try:
            await self._until_alone(lease)
            await self._clear([session], lambda: self._delete(session, lease))
        except LeaseLostError:
            await self._give_up(lease)
            await self._until_gone(session.id)
        except ClaudeAgentError:
            await self._give_up(lease)
            raise

    async def _delete(self, session: Session, lease: Lease | None = None) -> list[Session]:
        await self._store.sessions.delete(session.id, lease=lease)
        return [session]

    async def _clear(
        self, sessions: Sequence[Session], delete: Callable[[], Awaitable[list[Session]]]
    ) -> list[Session]:
        """The rows go last: until then a removal that was cut off can be repeated, and no session of the
        same id created, whose files would be taken for the old one's. `delete` returns whose rows went."""
        for session in sessions:
            await self._runtimes.forget(session)
        gone = await delete()
        for session in gone:
            self._tell(session)
        return gone

    def _tell(self, session: Session) -> None:
        self._store.wakeups.tell(Changed(session.id))
        self._hub.end(SessionDeleted(session.id, self._ids.event_id(), self._clock.now()))

    async def _until_alone(self, lease: Lease) -> None:
        """Wait until nothing of the session runs on another replica. Raises NotDeletedError."""
        if await self._store.leases.is_alone(lease):
            return
        self._store.wakeups.tell(Changed(lease.session_id))
        last = self._now() + self._most_seconds
        while not await self._store.leases.is_alone(lease):
            if self._now() >= last:
                reason = f"another replica has not ended its agent within {self._most_seconds:g} s"
                raise NotDeletedError(lease.session_id, reason)
            await asyncio.sleep(_STOPPED_POLL_SECONDS)

    async def _until_gone(self, session_id: str) -> None:
        """It was taken from here, most likely to be deleted too. Raises SessionNotFoundError when it was,
        else NotDeletedError."""
        last = self._now() + self._most_seconds
        while self._now() < last:
            await self._store.sessions.get(session_id)
            await asyncio.sleep(_STOPPED_POLL_SECONDS)
        raise NotDeletedError(session_id, "another replica of the service took it meanwhile")

    async def _give_up(self, lease: Lease) -> None:
        """Who deletes it elsewhere waits for that."""
        try:
            await self._store.leases.release(lease)
        except ClaudeAgentError as error:
            _log.warning("lease not released", session_id=lease.session_id, reason=str(error))

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
