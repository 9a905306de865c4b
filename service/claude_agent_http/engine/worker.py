"""The owner of one live session: starts its runtime, runs its turns one by one, stops it when idle."""

import asyncio
from collections.abc import Sequence

import structlog
from structlog.contextvars import bind_contextvars

from claude_agent_http.domain.errors import (
    ClaudeAgentError,
    DrainingError,
    LeaseLostError,
    RuntimeStartError,
    SessionNotFoundError,
    StorageError,
)
from claude_agent_http.domain.event import Event, NewEvent
from claude_agent_http.domain.lease import Lease
from claude_agent_http.domain.session import Session
from claude_agent_http.domain.turn import ErrorKind, TurnEnd
from claude_agent_http.domain.wakeup import Changed
from claude_agent_http.engine.debt import Debt
from claude_agent_http.engine.journal import SessionJournal
from claude_agent_http.engine.parts import WorkerParts
from claude_agent_http.engine.session_runtime import SessionRuntime
from claude_agent_http.engine.telemetry import watch
from claude_agent_http.engine.tool_fence import Running, ToolFence
from claude_agent_http.engine.turn import Turn
from claude_agent_http.engine.turn_run import TurnRun
from claude_agent_http.engine.turn_slot import TurnSlot
from claude_agent_http.engine.turn_writer import TurnWriter
from claude_agent_http.ports import AgentRuntime

_DEBT_RETRY_SECONDS = 1.0
_RELEASE_SECONDS = 1.0
_log = structlog.get_logger(__name__)


class SessionWorker:
    """Lives from the first need of a runtime until the session hibernates, and holds the session's lease all
    that time. At most one turn at a time.

    `journal` and `debt` are those of an earlier worker that left the log something to be stored."""

    def __init__(
        self,
        session: Session,
        parts: WorkerParts,
        journal: SessionJournal | None = None,
        debt: Debt | None = None,
    ) -> None:
        self.session = session
        self.journal = journal or SessionJournal(parts.journal, session.id)
        self.journal.lost = self.lose
        self.debt = debt or Debt(self.journal)
        self._parts = parts
        self._slot = TurnSlot(session, self.journal, parts.ids, self.debt, self._touch, parts.lost)
        self._lease: Lease | None = None
        self._last_turn: str | None = None
        fence = ToolFence(
            self.journal,
            parts.clock,
            parts.ids,
            lambda: self._writing,
            approval_seconds=parts.limits.approval_seconds,
        )
        self._runtime = SessionRuntime(
            session,
            parts,
            fence,
            turn=lambda: self.turn,
            is_wanted=self._wants_runtime,
        )
        self._writing: Running | None = None
        self._warm = False
        self._hibernate = False
        self._discarded = False
        self._changed = asyncio.Event()
        self.last_used = parts.clock.monotonic()

    @property
    def turn(self) -> Turn | None:
        """The turn in progress: while there is one the session is busy."""
        return self._slot.turn

    @property
    def has_runtime(self) -> bool:
        return self._runtime.is_up

    @property
    def runtime_since(self) -> float | None:
        """When it was up, in the clock's monotonic seconds."""
        return self._runtime.since

    @property
    def hibernating(self) -> bool:
        return self._hibernate

    @property
    def queued(self) -> bool:
        """Whether it waits for another's runtime to end before its own may start."""
        return self._runtime.is_queued

    def begin(self, turn: Turn) -> None:
        """Give the idle worker a turn; `turn.opened` and `turn.ended` tell the rest."""
        self._hibernate = False
        self._last_turn = turn.id
        turn.opened.add_done_callback(self._not_opened)
        turn.user_id = self.session.user_id
        watch(turn, self._parts.telemetry)
        self._slot.begin(turn)

    def adopt(self, turn: Turn, first: Sequence[NewEvent], *, undo: bool) -> None:
        """Give the idle worker a turn whose message is in the log already; `first` is stored before it runs.

        `undo`: it was run before, and the conversation must keep nothing of that.
        """
        self._hibernate = False
        self._last_turn = turn.id
        if undo:
            self._runtime.undo = turn.id
        turn.user_id = self.session.user_id
        watch(turn, self._parts.telemetry)
        self._slot.adopt(turn, first)

    def may_take_in(self, turn_id: str) -> bool:
        """Whether a turn found in the log is new here, and there is a place for it."""
        idle = self.turn is None and not self.debt and not self.journal.is_lost
        return idle and not self._discarded and turn_id != self._last_turn

    def warm(self) -> None:
        """Start the runtime before there is a turn."""
        self._warm = True
        self._changed.set()

    def hibernate(self) -> None:
        """Stop the runtime as soon as no turn runs."""
        self._hibernate = True
        self._changed.set()
        if self.turn is None or self.journal.is_lost:
            self._runtime.leave_queue()

    def lose(self) -> None:
        """Another replica may run the session: end at once what runs here, and say nothing more."""
        if not self.journal.is_lost:
            self._parts.telemetry.lease_lost()
        self._leave()

    def _leave(self) -> None:
        self.journal.refuse(LeaseLostError(self.session.id))
        self._runtime.kill()
        self.hibernate()

    def hand_over(self) -> None:
        """Leave a turn that no runtime has taken yet to another replica."""
        if self.turn is not None and not self._slot.is_taken:
            self._leave()

    def discard(self) -> None:
        """Stop as soon as may be: the session is about to be deleted, and what it owes the log with it."""
        if self.turn is not None:
            self.turn.interrupt("session deleted")
        self._discarded = True
        self.hibernate()

    async def run(self) -> None:
        """The worker's life; ends when the session hibernates. A turn it has is settled whatever happens.

        The session can be given a new worker at once; `release` what is left to this one."""
        # For what is logged below, by libraries too. Not the turn: what a start begins outlives its turn.
        bind_contextvars(session_id=self.session.id, user_id=self.session.user_id)
        try:
            self._lease = self.journal.lease or await self._claimed()
            while self._lease is not None and self._has_work():
                await self._go_on()
        finally:
            if self._lease is None:
                self.journal.refuse(DrainingError())
            await self._slot.abandon(TurnEnd.failed(ErrorKind.SERVICE_RESTARTED, str(DrainingError())))

    async def release(self) -> None:
        """Say that nothing runs under the lease any more, whoever has the session now. What fails here ends
        by time; who still owes the log something keeps it."""
        if self._lease is None or self.debt:
            return
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                await self._parts.leases.release(self._lease)
        except (ClaudeAgentError, TimeoutError) as error:
            self._log.warning("lease not released", reason=str(error) or "no answer")
        self._parts.wakeups.tell(Changed(self.session.id))

    async def _claimed(self) -> Lease | None:
        """Without the lease the journal is told why."""
        try:
            lease = await self._parts.leases.claim(self.session.id, self._parts.replica_id())
        except ClaudeAgentError as error:
            self.journal.refuse(error)
            return None
        if lease is None:
            self.journal.refuse(LeaseLostError(self.session.id))
        else:
            self.journal.grant(lease)
        return lease

    def _wants_runtime(self) -> bool:
        return not self.journal.is_lost and (self.turn is not None or not self._hibernate)

    def _has_work(self) -> bool:
        if self.journal.is_lost:
            return False
        return self.turn is not None or self._warm or bool(self.debt and not self._discarded)

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
        lease = self.journal.lease
        if lease is None:
            return
        try:
            async with self._runtime.open(lease) as runtime:
                if runtime is not None:
                    await self._serve(runtime)
        except LeaseLostError:
            self.lose()
        except RuntimeStartError as error:
            await self._slot.fail(ErrorKind.RUNTIME_START_FAILED, str(error))

    async def _serve(self, runtime: AgentRuntime) -> None:
        """Run turns until the session was idle for its time or the runtime is spent."""
        while not self.journal.is_lost and await self._next_turn():
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
        writer = TurnWriter(self.journal)
        grace = parts.limits.interrupt_grace_seconds
        run = TurnRun(turn, runtime, writer, parts.relay, parts.ids, grace=grace)
        try:
            async with writer:
                self._writing = turn, writer
                end = await run.run()
        finally:
            self._writing = None
            turn.approvals.end()
            self.debt.owe(writer.unstored)
        if run.runtime_was_dead and self._slot.give_back(turn):
            self._runtime.undo = turn.id
        else:
            self._runtime.had_turn = True
            await self._slot.end(turn, end)
        return run.runtime_is_spent

    async def _pay_debt(self) -> None:
        await self._wait_change(self._now() + _DEBT_RETRY_SECONDS)
        await self.debt.settle()

    def _not_opened(self, opened: asyncio.Future[Event]) -> None:
        """A message may come just too late for its session: the runtime is for nobody then. One that the
        database did not answer for may stand in the log all the same, and is taken in then."""
        match None if opened.cancelled() else opened.exception():
            case SessionNotFoundError():
                self.hibernate()
            case StorageError():
                self._last_turn = None

    async def _wait_change(self, until: float) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout_at(until):
                await self._changed.wait()
        except TimeoutError:
            return

    @property
    def _log(self) -> structlog.stdlib.BoundLogger:
        turn_id = {} if self.turn is None else {"turn_id": self.turn.id}
        log: structlog.stdlib.BoundLogger = _log.bind(
            session_id=self.session.id, user_id=self.session.user_id, **turn_id
        )
        return log

    def _touch(self) -> None:
        self.last_used = self._parts.clock.monotonic()
        self._changed.set()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
