"""Who did what, on its way to the store: in groups, off the requests' path, none lost while this runs."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from types import TracebackType
from typing import Self

import structlog

from claude_agent_http.domain.audit import AuditEntry, AuditFilter
from claude_agent_http.domain.errors import StorageError
from claude_agent_http.engine.housekeeping import Chore, keep_doing
from claude_agent_http.engine.no_longer import cancelled, no_longer
from claude_agent_http.ports import AuditLog, Clock

__all__ = ["AuditTrail"]

_MOST = 10_000
_GROUP = 500
_GROUP_SECONDS = 0.1
_RETRY_SECONDS = 1.0
_PLACE_SECONDS = 5.0
_LAST_SECONDS = 0.5
_CLEAN_SECONDS = 600.0
_CLEAN_GROUP = 1_000
_log = structlog.get_logger(__name__)


class AuditTrail:
    """`async with` it; at the end what waits is stored. Who wants to record takes a `place` before anything
    is done, so that there is room for the entry whatever happens: when the store takes nothing and all places
    are taken, nothing more is done. `keep_seconds` 0 keeps entries for good."""

    def __init__(self, log: AuditLog, clock: Clock, *, keep_seconds: float = 0, most: int = _MOST) -> None:
        self._log = log
        self._clock = clock
        self._keep_seconds = keep_seconds
        self._places = asyncio.Semaphore(most)
        self._waiting: list[AuditEntry] = []
        self._storing = asyncio.Lock()
        self._due = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._failing = False

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._store(), name="audit")]
        if self._keep_seconds:
            clean = Chore("deleting old audit entries", self._delete_old, _CLEAN_SECONDS)
            self._tasks.append(asyncio.create_task(keep_doing(clean), name="audit retention"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await cancelled(set(self._tasks))
        await self.settle(_LAST_SECONDS)
        if self._waiting:
            _log.error("audit entries are lost: they could not be stored", entries=len(self._waiting))

    async def place(self) -> None:
        """Raises StorageError when there is none within 5 s."""
        try:
            async with asyncio.timeout(_PLACE_SECONDS):
                await self._places.acquire()
        except TimeoutError:
            raise StorageError(
                "what is done here must be audited, and the audit cannot be stored now; try again later"
            ) from None

    def give_back(self) -> None:
        """A place that was taken and is not needed."""
        self._places.release()

    def record(self, entry: AuditEntry) -> None:
        """In a place that was taken. It is stored within about 0.1 s."""
        self._waiting.append(entry)
        self._due.set()

    async def settle(self, seconds: float) -> None:
        """Store now what was recorded so far, as far as the time allows."""
        try:
            await no_longer(seconds, self._store_all(), "audit's last")
        except (TimeoutError, StorageError) as error:
            _log.warning("the audit is not stored for now", reason=str(error) or "no answer")

    async def page(self, wanted: AuditFilter, *, limit: int, before: str | None) -> Sequence[AuditEntry]:
        """See `AuditLog.page`; with what was recorded here until now."""
        await self.settle(_RETRY_SECONDS)
        return await self._log.page(wanted, limit=limit, before=before)

    async def _store(self) -> None:
        while True:
            await self._due.wait()
            await asyncio.sleep(_GROUP_SECONDS)
            try:
                await self._store_all()
            except Exception as error:
                self._tell(error)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _store_all(self) -> None:
        """Entries stay in their places until they are stored: a repeat of them is known as one."""
        async with self._storing:
            while group := self._waiting[:_GROUP]:
                await self._log.add(group)
                del self._waiting[: len(group)]
                for _ in group:
                    self._places.release()
            self._due.clear()
            self._failing = False

    async def _delete_old(self) -> None:
        before = self._clock.now() - timedelta(seconds=self._keep_seconds)
        while await self._log.delete_before(before, limit=_CLEAN_GROUP) == _CLEAN_GROUP:
            continue

    def _tell(self, error: Exception) -> None:
        if not self._failing:
            _log.error("the audit cannot be stored; it is tried again", reason=str(error) or "no answer")
        self._failing = True
