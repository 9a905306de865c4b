"""The owner of one live session: starts its runtime, runs its turns one by one, stops it when idle."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import structlog

from claude_agent_http.domain import vocabulary
from claude_agent_http.domain.errors import ClaudeAgentError, DrainingError, RuntimeStartError
from claude_agent_http.domain.session import Session
from claude_agent_http.domain.turn import ErrorKind, StopReason, TurnEnd, TurnError
from claude_agent_http.engine.closing import closing_events
from claude_agent_http.engine.debt import Debt
from claude_agent_http.engine.hub import Hub
from claude_agent_http.engine.journal import Journal
from claude_agent_http.engine.limits import Limits
from claude_agent_http.engine.turn import Turn
from claude_agent_http.engine.turn_run import TurnRun
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
    starts: asyncio.Semaphore


class SessionWorker:
    """Lives from the first need of a runtime until the session hibernates. At most one turn at a time."""

    def __init__(self, session: Session, parts: WorkerParts) -> None:
        self.session = session
        self._parts = parts
        self._debt = Debt(parts.journal, session.id)
        self._turn: Turn | None = None
        self._opening: asyncio.Task[bool] | None = None
        self._writer: TurnWriter | None = None
        self._warm = False
        self._hibernate = False
        self._changed = asyncio.Event()
        self.last_used = parts.clock.monotonic()
        self.has_runtime = False
        self._log = _log.bind(session_id=session.id, user_id=session.user_id)

    @property
    def turn(self) -> Turn | None:
        """The turn in progress: while there is one the session is busy."""
        return self._turn

    @property
    def hibernating(self) -> bool:
        return self._hibernate

    def begin(self, turn: Turn) -> None:
        """Give the idle worker a turn. Its message is stored at once, even while a runtime still starts."""
        self._turn = turn
        self._opening = asyncio.create_task(self._open(turn), name=f"turn-open {turn.id}")
        self._touch()

    def warm(self) -> None:
        """Start the runtime before there is a turn."""
        self._warm = True
        self._changed.set()

    def hibernate(self) -> None:
        """Stop the runtime as soon as no turn runs."""
        self._hibernate = True
        self._changed.set()

    async def run(self) -> None:
        """The worker's life; ends when the session hibernates. A turn it has is settled whatever happens."""
        try:
            while self._turn is not None or self._warm or self._debt:
                if self._turn is not None or self._warm:
                    await self._live()
                else:
                    await self._pay_debt()
        finally:
            if self._turn is not None:
                await self._abandon(self._turn)

    async def _live(self) -> None:
        """One life of a runtime: from its start to its end."""
        self._warm = self._hibernate = False
        try:
            async with self._parts.slots, AsyncExitStack() as stack:
                runtime = await self._start(stack)
                await self._serve(runtime)
        except RuntimeStartError as error:
            self._log.error("runtime did not start", reason=str(error))
            if self._turn is not None and await self._opened():
                await self._end(self._turn, _failure(ErrorKind.RUNTIME_START_FAILED, str(error)))

    async def _start(self, stack: AsyncExitStack) -> AgentRuntime:
        async with self._parts.starts:
            began = self._parts.clock.monotonic()
            runtime = await stack.enter_async_context(self._parts.runtimes.open(self.session, self._gate))
        self._log.info("runtime started", pid=runtime.pid, seconds=self._since(began))
        stack.callback(self._runtime_gone)
        self.has_runtime = True
        return runtime

    def _runtime_gone(self) -> None:
        self._log.info("runtime stopped")
        self.has_runtime = False

    async def _serve(self, runtime: AgentRuntime) -> None:
        """Run turns until the session was idle for its time or the runtime is spent."""
        while await self._next_turn():
            turn = self._turn
            if turn is None or not await self._opened():
                continue
            end, spent = await self._run_turn(turn, runtime)
            await self._end(turn, end)
            if spent:
                return

    async def _next_turn(self) -> bool:
        """Wait for a turn; False when it is time to hibernate."""
        deadline = self._now() + self._parts.limits.idle_seconds
        while self._turn is None:
            if self._hibernate or self._now() >= deadline:
                return False
            until = min(deadline, self._now() + _DEBT_RETRY_SECONDS) if self._debt else deadline
            await self._wait_change(until)
            await self._debt.settle()
        return True

    async def _opened(self) -> bool:
        """Whether the waiting turn's message was stored; if not, the worker is idle again."""
        return self._opening is not None and await asyncio.shield(self._opening)

    async def _open(self, turn: Turn) -> bool:
        message = vocabulary.user_message(turn.id, turn.prompt)
        running = vocabulary.status_running(self._parts.ids.event_id(), turn.id)
        try:
            await self._debt.settle(strict=True)
            stored = await self._parts.journal.append(self.session.id, [message, running])
        except ClaudeAgentError as error:
            self._turn = None
            turn.opened.set_exception(error)
            turn.opened.exception()  # retrieved: whoever sent it may be gone
            turn.ended.set_result(_failure(ErrorKind.STORAGE_FAILED, str(error)))
            return False
        turn.opened.set_result(stored[0])
        return True

    async def _run_turn(self, turn: Turn, runtime: AgentRuntime) -> tuple[TurnEnd, bool]:
        parts = self._parts
        writer = TurnWriter(parts.journal, self.session.id)
        grace = parts.limits.interrupt_grace_seconds
        run = TurnRun(turn, runtime, writer, parts.hub, parts.ids, grace=grace)
        try:
            async with writer:
                self._writer = writer
                end = await run.run()
        finally:
            self._writer = None
            self._debt.owe(writer.unstored)
        return end, run.runtime_is_spent

    async def _gate(self, tool_use_id: str, name: str, _input: dict[str, Any]) -> bool:
        """A tool may run when its `agent.tool_started` is stored, and only within a turn."""
        writer, turn = self._writer, self._turn
        if writer is None or turn is None or turn.interrupt_reason is not None:
            return False
        started = vocabulary.agent_tool_started(self._parts.ids.event_id(), turn.id, tool_use_id, name)
        try:
            await writer.commit(started)
        except ClaudeAgentError:
            return False
        return True

    async def _end(self, turn: Turn, end: TurnEnd) -> None:
        """Store how the turn ended; what cannot be stored now is owed, and goes in before anything else."""
        self._debt.owe(closing_events(self._parts.ids, turn.id, end))
        await asyncio.shield(self._debt.settle())
        self._turn = None
        self._touch()
        turn.ended.set_result(end)
        self._log_end(turn, end)

    def _log_end(self, turn: Turn, end: TurnEnd) -> None:
        told = {"turn_id": turn.id, "stop_reason": end.stop_reason.value, "interrupted": end.interrupted}
        if end.error is None:
            self._log.info("turn ended", **told)
        else:
            self._log.warning("turn failed", **told, error=end.error.kind.value, reason=end.error.message)

    async def _abandon(self, turn: Turn) -> None:
        """The worker is being cancelled with a turn on its hands."""
        if await self._opened():
            await self._end(turn, _failure(ErrorKind.SERVICE_RESTARTED, str(DrainingError())))

    async def _pay_debt(self) -> None:
        await self._wait_change(self._now() + _DEBT_RETRY_SECONDS)
        await self._debt.settle()

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

    def _since(self, began: float) -> float:
        return round(self._parts.clock.monotonic() - began, 3)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _failure(kind: ErrorKind, message: str) -> TurnEnd:
    return TurnEnd(StopReason.RETRIES_EXHAUSTED, error=TurnError(kind, message))
