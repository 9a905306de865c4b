"""Removing sessions for good, wherever they live."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from datetime import datetime

import structlog

from claude_agent_http.domain.errors import ClaudeAgentError, LeaseLostError, NotDeletedError
from claude_agent_http.domain.event import SessionDeleted
from claude_agent_http.domain.lease import Lease
from claude_agent_http.domain.session import Session
from claude_agent_http.domain.wakeup import Changed
from claude_agent_http.engine.hub import Hub
from claude_agent_http.engine.limits import Limits
from claude_agent_http.engine.live import LiveSessions
from claude_agent_http.engine.membership import Membership
from claude_agent_http.ports import Clock, Ids, RuntimeFactory, Store

_STOPPED_POLL_SECONDS = 0.05
_log = structlog.get_logger(__name__)


class Removal:
    def __init__(
        self,
        store: Store,
        live: LiveSessions,
        membership: Membership,
        hub: Hub,
        runtimes: RuntimeFactory,
        clock: Clock,
        ids: Ids,
        limits: Limits,
    ) -> None:
        self._store = store
        self._live = live
        self._membership = membership
        self._hub = hub
        self._runtimes = runtimes
        self._clock = clock
        self._ids = ids
        self._most_seconds = limits.lease_seconds + limits.stop_seconds

    async def delete(self, session_id: str) -> None:
        """Raises SessionNotFoundError, DrainingError, NotDeletedError, StorageError."""
        session = await self._store.sessions.get(session_id)
        await self._live.end(session_id, lambda: self._remove(session))

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
