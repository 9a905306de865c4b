"""The event log with its readers: an append returns after the commit and wakes whoever follows."""

import asyncio
from collections.abc import Callable, Sequence

from claude_agent_http.domain.errors import ClaudeAgentError, LeaseLostError
from claude_agent_http.domain.event import Event, NewEvent
from claude_agent_http.domain.lease import Lease
from claude_agent_http.domain.wakeup import Appended
from claude_agent_http.engine.hub import Hub
from claude_agent_http.engine.telemetry import NullTelemetry
from claude_agent_http.ports import EventLog, Telemetry, Wakeups


class Journal:
    def __init__(self, log: EventLog, hub: Hub, wakeups: Wakeups, telemetry: Telemetry | None = None) -> None:
        self._log = log
        self._hub = hub
        self._wakeups = wakeups
        self._telemetry = telemetry or NullTelemetry()

    async def append(
        self,
        session_id: str,
        events: Sequence[NewEvent],
        *,
        lease: Lease | None = None,
        opens_turn: bool = False,
    ) -> list[Event]:
        ends = self._hub.ends
        stored = await self._log.append(session_id, events, lease=lease, opens_turn=opens_turn)
        self._telemetry.events_stored(stored)
        # A session that was deleted meanwhile has no head, nor has one that another replica may run; not to
        # ask which one was deleted costs a read at most.
        self._hub.publish(session_id, stored, is_head=lease is not None and self._hub.ends == ends)
        if stored:
            self._wakeups.tell(Appended(session_id, stored[-1].seq))
        return stored


class SessionJournal:
    """One session's log in the hands of the worker that runs it: every append is made under its lease.

    Appends wait until the lease is granted, or refused, which is for good. `lost` is called when an append
    finds out that the lease is another's."""

    def __init__(self, journal: Journal, session_id: str) -> None:
        self.session_id = session_id
        self.lost: Callable[[], None] = lambda: None
        self._journal = journal
        self._lease: asyncio.Future[Lease] = asyncio.Future()
        self._refusal: ClaudeAgentError | None = None
        # Through which seq the log was read, and the newest run of seqs that was appended from here.
        self._read = 0
        self._own = range(1, 1)

    def may_hold_foreign(self, last_seq: int) -> bool:
        """Whether the log may hold, up to `last_seq`, what was neither appended from here nor read."""
        is_joined = self._read >= self._own.start - 1
        return last_seq > max(self._read, self._own.stop - 1 if is_joined else 0)

    def was_read(self, through: int) -> None:
        """What others appended up to this seq is known here."""
        self._read = max(self._read, through)

    @property
    def lease(self) -> Lease | None:
        """None before it is granted, and when it is refused."""
        return self._lease.result() if self._lease.done() and self._refusal is None else None

    @property
    def is_lost(self) -> bool:
        return isinstance(self._refusal, LeaseLostError)

    def grant(self, lease: Lease) -> None:
        if not self._lease.done():
            self._lease.set_result(lease)

    def refuse(self, reason: ClaudeAgentError) -> None:
        """Every append from now on, and those that wait, raises this; the first reason stands."""
        self._refusal = self._refusal or reason
        if not self._lease.done():
            self._lease.set_exception(self._refusal)
            self._lease.exception()  # retrieved: nobody may be waiting

    async def append(self, events: Sequence[NewEvent], *, opens_turn: bool = False) -> list[Event]:
        """Raises what `EventLog.append` does, and the reason of a refusal."""
        lease = await asyncio.shield(self._lease)
        if self._refusal is not None:
            raise self._refusal
        try:
            stored = await self._journal.append(self.session_id, events, lease=lease, opens_turn=opens_turn)
        except LeaseLostError as error:
            self.lost()
            self.refuse(error)
            raise
        for event in stored:
            if event.seq >= self._own.stop:
                first = self._own.start if event.seq == self._own.stop else event.seq
                self._own = range(first, event.seq + 1)
        return stored
