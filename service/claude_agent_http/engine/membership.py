"""This process among the replicas: it joins, renews its stay, and learns in time when that has run out."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import structlog

from claude_agent_http.domain.errors import ClaudeAgentError, StorageError
from claude_agent_http.domain.lease import Replica
from claude_agent_http.domain.wakeup import PeersChanged
from claude_agent_http.engine.no_longer import cancelled
from claude_agent_http.ports import Clock, Ids, RuntimeFactory, Store

_log = structlog.get_logger(__name__)
_FOR_GOOD_SECONDS = 100 * 365 * 86_400.0
_SAFE_PART = 0.9
_RETRY_SECONDS = 0.2
_LEAVE_SECONDS = 0.5


class Membership:
    """`lost` is called when every lease of this process may be another's: it goes on under a new id then.

    The stay is reckoned from before it was asked for, and shorter than the database does: whoever takes over
    finds nothing of ours still running.
    """

    def __init__(
        self,
        store: Store,
        runtimes: RuntimeFactory,
        clock: Clock,
        ids: Ids,
        seconds: float,
        lost: Callable[[], None],
        *,
        name: str,
        version: str,
    ) -> None:
        self._leases = store.leases
        self._wakeups = store.wakeups
        self._is_shared = store.is_shared
        self._runtimes = runtimes
        self._clock = clock
        self._ids = ids
        self._seconds = seconds if store.is_shared else _FOR_GOOD_SECONDS
        self._lost = lost
        self._until = 0.0
        self._renewing: asyncio.Task[None] | None = None
        self._replica = Replica(ids.replica_id(), name, version)
        self.peers = 0

    @property
    def replica(self) -> Replica:
        """Raises StorageError while its time is up: a lease that it won then would be anybody's."""
        if self._clock.monotonic() >= self._until:
            raise StorageError(
                "this replica of the service could not renew its leases in time, and joins the others again "
                "as soon as the database answers; try again in a few seconds"
            )
        return self._replica

    async def start(self) -> None:
        """Raises StorageError."""
        await self._join()
        if self._is_shared:
            self._renewing = asyncio.create_task(self._renew_for_ever(), name="lease-renewal")

    async def stop(self) -> None:
        """Give up every lease; what the database does not hear of ends by time."""
        if self._renewing is not None:
            await cancelled({self._renewing})
        try:
            async with asyncio.timeout(_LEAVE_SECONDS):
                await self._leases.leave(self._replica.id)
        except (ClaudeAgentError, TimeoutError) as error:
            _log.warning("leases not given up; they end by time", reason=str(error) or "no answer")
        self._wakeups.tell(PeersChanged())

    async def _join(self) -> None:
        began = self._clock.monotonic()
        await self._leases.join(self._replica, self._seconds)
        self._hold(began)
        self._wakeups.tell(PeersChanged())

    async def _renew_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._seconds / 3)
            try:
                if not await self._renewed():
                    await self._start_anew()
            except Exception:
                _log.exception("the lease renewal failed")

    async def _renewed(self) -> bool:
        """Tries until it is done, or the time is up."""
        while (left := self._until - self._clock.monotonic()) > 0:
            began = self._clock.monotonic()
            try:
                async with asyncio.timeout(left):
                    peers = await self._leases.renew(self._replica.id, self._seconds)
            except (ClaudeAgentError, TimeoutError) as error:
                _log.warning(
                    "leases not renewed", reason=str(error) or "no answer", seconds_left=round(left, 1)
                )
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            if peers:
                self.peers = peers - 1
                self._hold(began)
            return peers > 0
        return False

    async def _start_anew(self) -> None:
        """Nothing that was started under the old id may go on."""
        _log.error("this replica's leases have run out; its sessions can be taken over by others")
        self._lost()
        self._replica = replace(self._replica, id=self._ids.replica_id())
        while True:
            try:
                await self._join()
                return
            except ClaudeAgentError as error:
                _log.warning("the replica could not join again yet", reason=str(error))
                await asyncio.sleep(self._seconds / 3)

    def _hold(self, began: float) -> None:
        self._until = began + _SAFE_PART * self._seconds
        self._runtimes.hold(self._until if self._is_shared else None)
