"""The owner of one live session: starts its runtime, runs its turns one by one, stops it when idle."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import structlog

from claude_agent_http.domain import vocabulary
from claude_agent_http.domain.errors import (
    ClaudeAgentError,
    DrainingError,
    RuntimeStartError,
    SessionNotFoundError,
)
from claude_agent_http.domain.event import Event
from claude_agent_http.domain.session import Session
from claude_agent_http.domain.turn import ErrorKind, TurnEnd
from claude_agent_http.engine.debt import Debt
from claude_agent_http.engine.hub import Hub
from claude_agent_http.engine.journal import Journal
from claude_agent_http.engine.limits import Limits
from claude_agent_http.engine.starts import Starts
from claude_agent_http.engine.turn import Turn
from claude_agent_http.engine.turn_run import TurnRun
from claude_agent_http.engine.turn_slot import TurnSlot
from claude_agent_http.engine.turn_writer import TurnWriter
from claude_agent_http.ports import AgentRuntime, Clock, Ids, RuntimeFactory

_DEBT_RETRY_SECONDS = 1.0
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """What every worker of an engine shares. `slots` bounds live runtimes, `starts` those being started."""

    journal: Journal
    hub: Hub
    runtimes: RuntimeFactory
    clock: Clock
    ids: Ids
    limits: Limits
    slots: asyncio.Semaphore
    starts: Starts


class SessionWorker:
    """Lives from the first need of a runtime until the session hibernates. At most one turn at a time."""

    def __init__(self, session: Session, parts: WorkerParts, debt: Debt | None = None) -> None:
        self.session = session
        self.debt = Debt(parts.journal, session.id) if debt is None else debt
        self._parts = parts
        self._slot = TurnSlot(session, parts.journal, parts.ids, self.debt, self._touch)
        self._writing: tuple[Turn, TurnWriter] | None = None
        self._warm = False
        self._hibernate = False
        self._discarded = False
        self._changed = asyncio.Event()
        self._queueing: asyncio.Timeout | None = None
        self._log = _log.bind(session_id=session.id, user_id=session.user_id)
        self.last_used = parts.clock.monotonic()
        self.has_runtime = False
        self.runtime_since: float | None = None

    @property
    def turn(self) -> Turn | None:
        """The turn in progress: while there is one the session is busy."""
        return self._slot.turn

    @property
    def hibernating(self) -> bool:
        return self._hibernate

    def begin(self, turn: Turn) -> None:
        """Give the idle worker a turn; `turn.opened` and `turn.ended` tell the rest."""
        self._hibernate = False
        turn.opened.add_done_callback(self._leave_if_deleted)
        self._slot.begin(turn)

    def warm(self) -> None:
        """Start the runtime before there is a turn."""
        self._warm = True
        self._changed.set()

    def hibernate(self) -> None:
        """Stop the runtime as soon as no turn runs."""
        self._hibernate = True
        self._changed.set()
        if self._queueing is not None and self.turn is None:
            self._queueing.reschedule(self._now())

    def discard(self) -> None:
        """Stop as soon as may be: the session is about to be deleted, and what it owes the log with it."""
        if self.turn is not None:
            self.turn.interrupt("session deleted")
        self._discarded = True
        self.hibernate()

    async def run(self) -> None:
        """The worker's life; ends when the session hibernates. A turn it has is settled whatever happens."""
        try:
            while self.turn is not None or self._warm or (self.debt and not self._discarded):
                await self._go_on()
        finally:
            await self._slot.abandon(TurnEnd.failed(ErrorKind.SERVICE_RESTARTED, str(DrainingError())))

    async def _go_on(self) -> None:
        try:
            if self.turn is not None or self._warm:
                await self._live()
            else:
                await self._pay_debt()
        except Exception:
            self._log.exception("the session's worker failed")
            message = "the service failed unexpectedly; its log says why"
            await self._slot.abandon(TurnEnd.failed(ErrorKind.INTERNAL, message))

    async def _live(self) -> None:
        """One life of a runtime: from its start to its end."""
        self._warm = False
        try:
            async with AsyncExitStack() as stack:
                if await self._got_slot(stack) and (runtime := await self._start(stack)) is not None:
                    await self._serve(runtime)
        except RuntimeStartError as error:
            self._parts.starts.last_error = str(error)
            self._log.error("runtime did not start", reason=str(error))
            await self._slot.fail(ErrorKind.RUNTIME_START_FAILED, str(error))

    async def _got_slot(self, stack: AsyncExitStack) -> bool:
        """False when told to hibernate while all the others keep theirs."""
        try:
            async with asyncio.timeout(None) as self._queueing:
                await stack.enter_async_context(self._parts.slots)
        except TimeoutError:
            return False
        finally:
            self._queueing = None
        return True

    async def _start(self, stack: AsyncExitStack) -> AgentRuntime | None:
        """None when nobody wants the runtime any more by the time that it is this session's turn to start."""
        async with self._parts.starts.place(lambda: self.turn is not None):
            if self._hibernate and self.turn is None:
                return None
            began = self._parts.clock.monotonic()
            runtime = await stack.enter_async_context(self._parts.runtimes.open(self.session, self._gate))
        seconds = round(self._parts.clock.monotonic() - began, 3)
        self._log.info("runtime started", pid=runtime.pid, seconds=seconds)
        stack.callback(self._runtime_gone)
        self._parts.starts.last_error = None
        self.has_runtime, self.runtime_since = True, self._parts.clock.monotonic()
        return runtime

    def _runtime_gone(self) -> None:
        self._log.info("runtime stopped")
        self.has_runtime, self.runtime_since = False, None

    async def _serve(self, runtime: AgentRuntime) -> None:
        """Run turns until the session was idle for its time or the runtime is spent."""
        while await self._next_turn():
            turn = await self._slot.take()
            if turn is not None and await self._run_turn(turn, runtime):
                return

    async def _next_turn(self) -> bool:
        """Wait for a turn; False when it is time to hibernate."""
        deadline = self._now() + self._parts.limits.idle_seconds
        while self.turn is None:
            if self._hibernate or self._now() >= deadline:
                return False
            until = min(deadline, self._now() + _DEBT_RETRY_SECONDS) if self.debt else deadline
            await self._wait_change(until)
            await self.debt.settle()
        return True

    async def _run_turn(self, turn: Turn, runtime: AgentRuntime) -> bool:
        """Run the turn to its stored end. True when the runtime cannot be used again."""
        parts = self._parts
        writer = TurnWriter(parts.journal, self.session.id)
        grace = parts.limits.interrupt_grace_seconds
        run = TurnRun(turn, runtime, writer, parts.hub, parts.ids, grace=grace)
        try:
            async with writer:
                self._writing = turn, writer
                end = await run.run()
        finally:
            self._writing = None
            self.debt.owe(writer.unstored)
        if not (run.runtime_was_dead and self._slot.give_back(turn)):
            await self._slot.end(turn, end)
        return run.runtime_is_spent

    async def _gate(self, tool_use_id: str, name: str, _input: dict[str, Any]) -> bool:
        """A tool may run when its `agent.tool_started` is stored, and only within a turn."""
        if self._writing is None:
            return False
        turn, writer = self._writing
        if turn.interrupt_reason is not None:
            return False
        try:
            started = vocabulary.agent_tool_started(self._parts.ids.event_id(), turn.id, tool_use_id, name)
            await writer.commit(started)
        except ClaudeAgentError:
            return False
        return True

    async def _pay_debt(self) -> None:
        await self._wait_change(self._now() + _DEBT_RETRY_SECONDS)
        await self.debt.settle()

    def _leave_if_deleted(self, opened: asyncio.Future[Event]) -> None:
        """A message may come just too late for its session: the runtime is for nobody then."""
        if not opened.cancelled() and isinstance(opened.exception(), SessionNotFoundError):
            self.hibernate()

    async def _wait_change(self, until: float) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout_at(until):
                await self._changed.wait()
        except TimeoutError:
            return

    def _touch(self) -> None:
        self.last_used = self._parts.clock.monotonic()
        self._changed.set()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
