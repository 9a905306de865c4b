"""Removing sessions for good, wherever they live."""

import asyncio

from claude_agent_http.domain.event import SessionDeleted
from claude_agent_http.domain.session import Session
from claude_agent_http.domain.wakeup import Changed
from claude_agent_http.engine.hub import Hub
from claude_agent_http.engine.limits import Limits
from claude_agent_http.engine.live import LiveSessions
from claude_agent_http.engine.membership import Membership
from claude_agent_http.ports import Clock, Ids, RuntimeFactory, Store

_STOPPED_POLL_SECONDS = 0.05


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
        """Raises SessionNotFoundError, DrainingError, StorageError."""
        session = await self._store.sessions.get(session_id)
        await self._live.end(session_id, lambda: self._remove(session))

    async def _remove(self, session: Session) -> None:
        await self._stop_elsewhere(session.id)
        await self._store.sessions.delete(session.id)
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
