"""Leases of this replica under which nothing runs here any more."""

import structlog

from claude_agent_http.domain.lease import Lease
from claude_agent_http.domain.wakeup import Changed
from claude_agent_http.engine.live import LiveSessions
from claude_agent_http.engine.membership import Membership
from claude_agent_http.ports import Leases, Wakeups

_log = structlog.get_logger(__name__)


class UnusedLeases:
    """Each is released by whoever had it; but that can fail, and then nobody else may run or delete the
    session for as long as this replica lives."""

    def __init__(self, leases: Leases, wakeups: Wakeups, live: LiveSessions, membership: Membership) -> None:
        self._leases = leases
        self._wakeups = wakeups
        self._live = live
        self._membership = membership
        self._seen: frozenset[Lease] = frozenset()

    async def release(self) -> None:
        """Release those that were seen unused the last time too: one just won may not be in use yet.
        Raises StorageError."""
        held = await self._leases.held(self._membership.replica.id)
        unused = frozenset(lease for lease in held if not self._live.is_in_use(lease.session_id))
        for lease in unused & self._seen:
            await self._leases.release(lease)
            self._wakeups.tell(Changed(lease.session_id))
            _log.warning("a lease was released late", session_id=lease.session_id)
        self._seen = unused
