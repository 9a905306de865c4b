"""Where a session lives: here, with another replica, or nowhere."""

from claude_agent_http.domain.lease import Lease
from claude_agent_http.domain.session import Session
from claude_agent_http.engine.live import LiveSessions
from claude_agent_http.engine.membership import Membership
from claude_agent_http.ports import Leases, Workspaces


class Whereabouts:
    def __init__(
        self, leases: Leases, live: LiveSessions, membership: Membership, workspaces: Workspaces
    ) -> None:
        self._leases = leases
        self._live = live
        self._membership = membership
        self._workspaces = workspaces

    async def is_elsewhere(self, session: Session) -> bool:
        """Also when its files are not on this disk: its turn is for a replica that sees them."""
        holder = session.lease_holder
        if self._live.is_held(session.id):
            return False
        if self._membership.peers and not await self._workspaces.is_visible(session):
            return True
        if holder in (None, self._membership.replica.id):
            return False
        return not await self._leases.has_stopped(Lease(session.id, holder, session.lease_epoch))
