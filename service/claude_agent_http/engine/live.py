"""The live sessions of this process: their workers, the workers' tasks and ends."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import structlog

from claude_agent_http.domain.errors import (
    BusyError,
    DrainingError,
    SessionBusyError,
    SessionNotFoundError,
)
from claude_agent_http.domain.event import NewEvent
from claude_agent_http.domain.lease import Lease
from claude_agent_http.domain.session import Session
from claude_agent_http.engine.admission import Admission, MemoryGauge
from claude_agent_http.engine.parts import WorkerParts
from claude_agent_http.engine.turn import Turn
from claude_agent_http.engine.worker import SessionWorker

_LAST_SECONDS = 0.3
_log = structlog.get_logger(__name__)


class LiveSessions:
    def __init__(self, parts: WorkerParts, memory: MemoryGauge) -> None:
        self._parts = parts
        self._limits = parts.limits
        self._workers: dict[str, SessionWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._admission = Admission(self._workers, parts.limits, parts.clock, memory)
        self._ending: Counter[str] = Counter()
        self._leaving: set[asyncio.Task[None]] = set()
        self._taking: dict[str, asyncio.Event] = {}
        self._removals: dict[str, asyncio.Task[None]] = {}
        self.draining = False

    @property
    def live(self) -> int:
        """Sessions that have a worker: a runtime, or one being started or stopped."""
        return len(self._workers)

    @property
    def runtimes(self) -> int:
        return sum(worker.has_runtime for worker in self._workers.values())

    @property
    def busy_runtimes(self) -> int:
        return sum(worker.has_runtime and worker.turn is not None for worker in self._workers.values())

    @property
    def queued(self) -> int:
        """Sessions that wait for another's runtime to end before theirs may start."""
        return sum(worker.queued for worker in self._workers.values())

    @property
    def turns(self) -> int:
        return self._admission.turns

    def session(self, session_id: str) -> Session | None:
        """The session as it was when it became live; None for one that is not, or is being stopped."""
        worker = self._workers.get(session_id)
        return worker.session if worker is not None and not worker.hibernating else None

    def turn_of(self, session_id: str) -> Turn | None:
        worker = self._workers.get(session_id)
        return worker.turn if worker else None

    def begin(self, session: Session, turn: Turn) -> None:
        """Start the turn. Raises BusyError (DrainingError) with the limit that stands in the way."""
        if self.draining:
            raise DrainingError
        if self.turn_of(session.id) is not None:
            raise SessionBusyError
        if self._ending[session.id]:
            raise SessionNotFoundError(session.id)
        if session.id in self._taking:
            raise SessionBusyError
        self._admission.admit_turn(session)
        self._worker(session).begin(turn)

    def adopt(self, session: Session, turn: Turn, first: Sequence[NewEvent], lease: Lease) -> None:
        """Run a turn that another replica began, under the lease won from it. Raises BusyError."""
        self.check_adopt(session)
        self._admission.admit_turn(session)
        worker = SessionWorker(session, self._parts)
        worker.journal.grant(lease)
        worker.adopt(turn, first, undo=True)
        self._own(worker)

    def check_adopt(self, session: Session) -> None:
        """Raises BusyError as `adopt` does, and changes nothing."""
        if self.draining or session.id in self._workers or self._ending[session.id]:
            raise BusyError("the session cannot be taken over now", retry_after=1)
        self._admission.check_turn(session)

    def take_in(self, worker: SessionWorker, turn: Turn) -> None:
        """Run a turn that another replica opened in a session that lives here. Raises BusyError."""
        self._admission.admit_turn(worker.session)
        worker.adopt(turn, [], undo=False)

    @contextmanager
    def taking_over(self, session_id: str) -> Iterator[None]:
        """Meanwhile only `adopt` makes the session live."""
        taken = self._taking[session_id] = asyncio.Event()
        try:
            yield
        finally:
            del self._taking[session_id]
            taken.set()

    def held(self) -> Iterable[str]:
        """Ids of the sessions that live here."""
        return self._workers.keys()

    def is_held(self, session_id: str) -> bool:
        """Whether it lives here, or is being deleted from here."""
        return session_id in self._workers or self._ending[session_id] > 0

    def is_in_use(self, session_id: str) -> bool:
        """Whether something here may need its lease."""
        return self.is_held(session_id) or session_id in self._taking

    def worker(self, session_id: str) -> SessionWorker | None:
        return self._workers.get(session_id)

    def lose_all(self) -> None:
        """Every lease of this replica may be another's now."""
        for worker in self._workers.values():
            worker.lose()

    def make_room(self) -> None:
        """Stop the idlest session when memory is short, before anybody needs it."""
        self._admission.relieve()

    def warm(self, session: Session) -> None:
        """Start the session's runtime ahead of its first turn, when that takes nobody else's place."""
        if self.draining or self.is_held(session.id) or session.id in self._taking:
            return
        if self._admission.admit_warm(session):
            self._worker(session).warm()

    def hibernate(self, session_id: str) -> None:
        """Stop the session's runtime as soon as no turn runs."""
        if worker := self._workers.get(session_id):
            worker.hibernate()

    async def end(self, session_id: str, remove: Callable[[], Awaitable[None]]) -> None:
        """Stop the session, then `remove` it, with no way to make it live again meanwhile.

        Once begun it goes on to its end, though its caller is cancelled; whoever asks meanwhile waits for it
        too, for a second one would not see what the first one waits for. Raises DrainingError.
        """
        removal = self._removals.get(session_id)
        if removal is None and self.draining:
            raise DrainingError
        if removal is None:
            removing = self._end(session_id, remove)
            removal = asyncio.create_task(removing, name=f"removal of session {session_id}")
            self._removals[session_id] = removal
            removal.add_done_callback(partial(self._removed, session_id))
        await asyncio.shield(removal)

    def _removed(self, session_id: str, removal: asyncio.Task[None]) -> None:
        del self._removals[session_id]
        failure = None if removal.cancelled() else removal.exception()
        if failure is not None and not isinstance(failure, SessionNotFoundError):
            _log.warning("a session was not deleted", session_id=session_id, reason=str(failure))

    async def _end(self, session_id: str, remove: Callable[[], Awaitable[None]]) -> None:
        self._ending[session_id] += 1
        worker: SessionWorker | None = None
        try:
            if (taken := self._taking.get(session_id)) is not None:
                await taken.wait()  # else it would give life to what is gone
            if (worker := self._workers.get(session_id)) is not None:
                worker.discard()
                await self._join([self._tasks[session_id]], self._stop_limit)
            await remove()
        except BaseException:
            if worker is not None:
                self._hand_on_debt(worker)
            raise
        finally:
            self._ending[session_id] -= 1
            self._ending += Counter()  # drops the zeros

    def _hand_on_debt(self, worker: SessionWorker) -> None:
        """The session stays after all: somebody must store what its worker left behind.

        Not at the end of the process, which waits for no new worker; the next start ends the turn.
        """
        if worker.debt and worker.session.id not in self._workers and not self.draining:
            self._own(SessionWorker(worker.session, self._parts, worker.journal, worker.debt))

    async def drain(self, seconds: float, *, hand_over: bool = False) -> None:
        """Take no new turn, give the running ones `seconds`, interrupt the rest, stop every runtime.

        `hand_over`: another replica can run at once the turns that no runtime has taken yet.
        """
        self.draining = True
        for worker in list(self._workers.values()) if hand_over else ():
            worker.hand_over()
        turns = [worker.turn.ended for worker in self._workers.values() if worker.turn is not None]
        if turns:
            await asyncio.wait(turns, timeout=seconds)
        for worker in self._workers.values():
            if worker.turn is not None:
                worker.turn.interrupt("shutdown")
            worker.hibernate()
        await self._join([*self._tasks.values(), *self._leaving, *self._removals.values()], self._stop_limit)

    @property
    def _stop_limit(self) -> float:
        return self._limits.interrupt_grace_seconds + self._limits.stop_seconds

    async def _join(self, tasks: list[asyncio.Task[None]], seconds: float) -> None:
        """Wait for tasks to end by themselves; those that do not are cancelled, once for each thing that a
        worker waits for at its end: the log, its runtime, and the log again."""
        late = {task for task in tasks if not task.done()}
        for wait in (seconds, _LAST_SECONDS, _LAST_SECONDS, _LAST_SECONDS):
            if late:
                _, late = await asyncio.wait(late, timeout=wait)
            for task in late:
                task.cancel()
        for task in late:
            _log.error("a session's task does not end", task=task.get_name())

    def _worker(self, session: Session) -> SessionWorker:
        return self._workers.get(session.id) or self._own(SessionWorker(session, self._parts))

    def _own(self, worker: SessionWorker) -> SessionWorker:
        session_id = worker.session.id
        self._workers[session_id] = worker
        self._tasks[session_id] = asyncio.create_task(self._run(worker), name=f"session {session_id}")
        return worker

    async def _run(self, worker: SessionWorker) -> None:
        try:
            # The worker gets its turn in the same step of the loop that made it, before this first runs.
            await worker.run()
        finally:
            task = self._tasks.pop(worker.session.id)
            del self._workers[worker.session.id]
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
            await worker.release()
