"""Where a session lives: here, with another replica, or nowhere."""

from claude_agent_http.domain.errors import FilesElsewhereError
from claude_agent_http.domain.session import Session
from claude_agent_http.engine.live import LiveSessions
from claude_agent_http.engine.membership import Membership
from claude_agent_http.ports import Store, Workspaces

_NOT_RUN = (
    "nothing of the request was stored. Ask again, for another replica may have it; if it was removed, put "
    "it back or DELETE the session"
)


class Whereabouts:
    def __init__(
        self, store: Store, live: LiveSessions, membership: Membership, workspaces: Workspaces
    ) -> None:
        self._leases = store.leases
        self._is_shared = store.is_shared
        self._live = live
        self._membership = membership
        self._workspaces = workspaces

    async def is_elsewhere(self, session: Session) -> bool:
        """Whether another living replica has it. Raises StorageError; FilesElsewhereError when nobody has it
        and this replica may not: to it the session would be one that has lost all its files."""
        if self._live.is_held(session.id):
            return False
        if await self._lives_elsewhere(session):
            return True
        if self._is_shared and not await self._workspaces.is_visible(session):
            raise FilesElsewhereError(session.id, session.cwd, _NOT_RUN)
        return False

    async def may_live_here(self, session: Session) -> bool:
        """Raises StorageError."""
        try:
            return not await self.is_elsewhere(session)
        except FilesElsewhereError:
            return False

    async def _lives_elsewhere(self, session: Session) -> bool:
        lease = session.lease
        if lease is None or lease.replica_id == self._membership.replica.id:
            return False
        return not await self._leases.has_stopped(lease)
