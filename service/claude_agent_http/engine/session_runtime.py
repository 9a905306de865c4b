"""The runtime of one session: the wait for its place, its start, and what is known of it while it lives."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import structlog

from claude_agent_http.domain.errors import RuntimeStartError
from claude_agent_http.domain.lease import Lease
from claude_agent_http.domain.session import Session
from claude_agent_http.domain.telemetry import StartKind
from claude_agent_http.engine.parts import WorkerParts
from claude_agent_http.engine.tool_fence import ToolFence
from claude_agent_http.engine.turn import Turn
from claude_agent_http.ports import AgentRuntime

_log = structlog.get_logger(__name__)


class SessionRuntime:
    """`turn` gives the one that waits for it, if any; `is_wanted` tells whether anybody does.

    `since` is when it was up, in the clock's monotonic seconds. `undo` names a turn of which the conversation
    must keep nothing when the next one starts."""

    def __init__(
        self,
        session: Session,
        parts: WorkerParts,
        fence: ToolFence,
        *,
        turn: Callable[[], Turn | None],
        is_wanted: Callable[[], bool],
    ) -> None:
        self.since: float | None = None
        self.undo: str | None = None
        self.had_turn = session.message_count > 0
        self._session = session
        self._parts = parts
        self._fence = fence
        self._turn = turn
        self._is_wanted = is_wanted
        self._runtime: AgentRuntime | None = None
        self._queueing: asyncio.Timeout | None = None
        self._starting: asyncio.Timeout | None = None

    @property
    def is_up(self) -> bool:
        return self._runtime is not None

    @property
    def is_queued(self) -> bool:
        """Whether it waits for another's runtime to end before it may start."""
        return self._queueing is not None

    def leave_queue(self) -> None:
        """Wait for a place no longer."""
        _end_now(self._queueing)

    def kill(self) -> None:
        """End it at once, or its start."""
        if self._runtime is not None:
            self._runtime.kill()
        _end_now(self._starting)

    @asynccontextmanager
    async def open(self, lease: Lease) -> AsyncIterator[AgentRuntime | None]:
        """None when nobody wants it any more by the time that it may start. Raises RuntimeStartError."""
        async with AsyncExitStack() as stack:
            runtime = await self._start(stack, lease) if await self._got_slot(stack) else None
            yield runtime

    async def _got_slot(self, stack: AsyncExitStack) -> bool:
        """False when told to leave the queue while all the others keep theirs, or before."""
        if not self._is_wanted():
            return False
        try:
            async with asyncio.timeout(None) as self._queueing:
                await stack.enter_async_context(self._parts.slots)
        except TimeoutError:
            return False
        finally:
            self._queueing = None
        return True

    async def _start(self, stack: AsyncExitStack, lease: Lease) -> AgentRuntime | None:
        try:
            async with (
                asyncio.timeout(None) as self._starting,
                self._parts.starts.place(lambda: self._turn() is not None),
            ):
                return await self._started(stack, lease) if self._is_wanted() else None
        except TimeoutError:  # It was killed meanwhile.
            return None
        except RuntimeStartError as error:
            self._parts.starts.last_error = str(error)
            self._parts.telemetry.runtime_start_failed()
            self._log.error("runtime did not start", reason=str(error))
            raise
        finally:
            self._starting = None

    async def _started(self, stack: AsyncExitStack, lease: Lease) -> AgentRuntime:
        began, kind = self._parts.clock.monotonic(), self._kind()
        fence = self._fence
        opening = self._parts.runtimes.open(self._session, fence.gate, lease, ask=fence.ask, undo=self.undo)
        runtime = await stack.enter_async_context(opening)
        self.undo = None
        seconds = round(self._parts.clock.monotonic() - began, 3)
        self._log.info("runtime started", pid=runtime.pid, kind=kind.value, seconds=seconds)
        self._parts.telemetry.runtime_started(kind, seconds)
        stack.callback(self._gone)
        self._parts.starts.last_error = None
        self._runtime, self.since = runtime, self._parts.clock.monotonic()
        return runtime

    def _kind(self) -> StartKind:
        if self._turn() is None:
            return StartKind.PRESTART
        return StartKind.WAKE if self.had_turn else StartKind.START

    def _gone(self) -> None:
        self._log.info("runtime stopped")
        self._parts.telemetry.runtime_stopped()
        self._runtime, self.since = None, None

    @property
    def _log(self) -> structlog.stdlib.BoundLogger:
        turn = self._turn()
        turn_id = {} if turn is None else {"turn_id": turn.id}
        log: structlog.stdlib.BoundLogger = _log.bind(
            session_id=self._session.id, user_id=self._session.user_id, **turn_id
        )
        return log


def _end_now(waiting: asyncio.Timeout | None) -> None:
    if waiting is not None and not waiting.expired():  # else it is being ended already
        waiting.reschedule(asyncio.get_running_loop().time())
