"""Closed sessions do not stay for ever: those too old go, and those that take too much room."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from claude_agent_http.domain.telemetry import Expiry
from claude_agent_http.engine.limits import Limits
from claude_agent_http.engine.removal import Removal
from claude_agent_http.ports import Clock, Store, Telemetry

_log = structlog.get_logger(__name__)


class Retention:
    """The whole session goes, as if it had been deleted: a conversation without its beginning would be an
    agent that has silently forgotten. Several replicas may do this at once."""

    def __init__(
        self,
        store: Store,
        removal: Removal,
        clock: Clock,
        limits: Limits,
        telemetry: Telemetry,
    ) -> None:
        self._sessions = store.sessions
        self._leases = store.leases
        self._removal = removal
        self._clock = clock
        self._limits = limits
        self._telemetry = telemetry

    async def by_age(self) -> None:
        """Delete those that nobody used for `retention_seconds`. Raises StorageError."""
        age = timedelta(seconds=self._limits.retention_seconds)
        await self._delete(self._clock.now() - age, Expiry.AGE)

    async def by_size(self) -> None:
        """Delete those used longest ago until the rest take `retention_bytes`. Raises StorageError."""
        through = await self._sessions.excess(self._limits.retention_bytes)
        if through is not None:
            await self._delete(through, Expiry.SIZE)

    async def _delete(self, through: datetime, reason: Expiry) -> None:
        await self._leases.bury()  # else what a dead replica held would wait until somebody wants it
        count = 0
        while parts := await self._sessions.expired(through):
            before = count
            for part in parts:
                count += await self._delete_part(part, through, reason)
            if count == before:  # All that is left is being used.
                break
        if count:
            _log.info("closed sessions were deleted", reason=reason.value, sessions=count)

    async def _delete_part(self, session_ids: Sequence[str], through: datetime, reason: Expiry) -> int:
        gone = await self._removal.delete_closed(session_ids, through)
        for _ in gone:
            self._telemetry.session_expired(reason)
        return len(gone)
