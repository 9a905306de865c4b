"""The live sessions of this process: who may become one, who makes room, and the workers' tasks."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import structlog

from claude_agent_http.domain.errors import BusyError, DrainingError, SessionNotFoundError
from claude_agent_http.domain.session import Session
from claude_agent_http.engine.turn import Turn
from claude_agent_http.engine.worker import SessionWorker, WorkerParts

MemoryGauge = Callable[[], int]
"""MiB that the service and its agent processes use, as last measured."""

_RETRY_SECONDS = 5
_YOUNG_SECONDS = 5.0
_LAST_SECONDS = 2.0
_log = structlog.get_logger(__name__)


class LiveSessions:
    def __init__(self, parts: WorkerParts, memory: MemoryGauge) -> None:
        self._parts = parts
        self._limits = parts.limits
        self._memory = memory
        self._workers: dict[str, SessionWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ending: Counter[str] = Counter()
        self.draining = False

    @property
    def live(self) -> int:
        """Sessions that have a worker: a runtime, or one being started or stopped."""
        return len(self._workers)

    @property
    def runtimes(self) -> int:
        return sum(worker.has_runtime for worker in self._workers.values())

    @property
    def turns(self) -> int:
        return sum(worker.turn is not None for worker in self._workers.values())

    def session(self, session_id: str) -> Session | None:
        """The session as it was when it became live; None for one that is not, or is being stopped."""
        worker = self._workers.get(session_id)
        return worker.session if worker is not None and not worker.hibernating else None

    def turn_of(self, session_id: str) -> Turn | None:
        worker = self._workers.get(session_id)
        return worker.turn if worker else None

    def begin(self, session: Session, turn: Turn) -> None:
        """Start the turn. Raises BusyError (DrainingError) with the limit that stands in the way."""
        self._check(session)
        self._make_memory(session)
        self._worker(session).begin(turn)

    def warm(self, session: Session) -> None:
        """Start the session's runtime ahead of its first turn, when that takes nobody else's place."""
        if self.draining or session.id in self._workers or self._ending[session.id]:
            return
        if self._has_room_to_warm(session.user_id):
            self._worker(session).warm()

    def _has_room_to_warm(self, user_id: str) -> bool:
        limits = self._limits
        if not self._has_memory_for_one_more():
            return False
        mine = self._staying_of(user_id)
        if len(mine) >= limits.max_live_per_user:
            return self._long_idle(mine)
        staying = self._staying()
        return len(staying) < limits.max_live or self._long_idle(staying)

    def hibernate(self, session_id: str) -> None:
        """Stop the session's runtime as soon as no turn runs."""
        if worker := self._workers.get(session_id):
            worker.hibernate()

    @asynccontextmanager
    async def ended(self, session_id: str) -> AsyncIterator[None]:
        """The session stopped, its processes gone, and no way to make it live again while this lasts."""
        self._ending[session_id] += 1
        try:
            if worker := self._workers.get(session_id):
                worker.discard()
                await self._join([self._tasks[session_id]], self._stop_limit)
            yield
        finally:
            self._ending[session_id] -= 1
            self._ending += Counter()  # drops the zeros

    async def drain(self, seconds: float) -> None:
        """Take no new turn, give the running ones `seconds`, interrupt the rest, stop every runtime."""
        self.draining = True
        turns = [worker.turn.ended for worker in self._workers.values() if worker.turn is not None]
        if turns:
            await asyncio.wait(turns, timeout=seconds)
        for worker in self._workers.values():
            if worker.turn is not None:
                worker.turn.interrupt("shutdown")
            worker.hibernate()
        await self._join(list(self._tasks.values()), self._stop_limit)

    @property
    def _stop_limit(self) -> float:
        return self._limits.interrupt_grace_seconds + self._limits.stop_seconds

    async def _join(self, tasks: list[asyncio.Task[None]], seconds: float) -> None:
        """Wait for workers to end by themselves; those that do not are cancelled shortly before the limit."""
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=seconds)
        for task in late:
            task.cancel()
        if late:
            _, stuck = await asyncio.wait(late, timeout=_LAST_SECONDS)
            for task in stuck:
                _log.error("a session's worker does not end", task=task.get_name())

    def _check(self, session: Session) -> None:
        if self.draining:
            raise DrainingError
        if self.turn_of(session.id) is not None:
            raise BusyError("the session is busy with a turn; wait for it or interrupt it", retry_after=1)
        if self.turns >= self._limits.max_turns_at_once:
            raise _limit_reached("turns at once", self._limits.max_turns_at_once)
        if self._ending[session.id]:
            raise SessionNotFoundError(session.id)
        if self._stays(session.id):
            return
        busy = [worker for worker in self._staying_of(session.user_id) if worker.turn is not None]
        if len(busy) >= self._limits.max_live_per_user:
            raise _limit_reached("busy sessions of one user", self._limits.max_live_per_user)
        if self.turns >= self._limits.max_live:
            raise _limit_reached("live sessions", self._limits.max_live)

    def _make_memory(self, session: Session) -> None:
        if self._stays(session.id) or self._has_memory_for_one_more():
            return
        idle = _idlest(self._workers.values())
        if idle is None:
            text = (
                f"the memory limit of {self._limits.memory_mb} MB is reached and every live session is busy"
            )
            raise BusyError(text, retry_after=_RETRY_SECONDS)
        idle.hibernate()

    def _has_memory_for_one_more(self) -> bool:
        """Counts the runtimes that are too young to stand in the last measurement."""
        now = self._parts.clock.monotonic()
        young = sum(
            worker.runtime_since is None or now - worker.runtime_since < _YOUNG_SECONDS
            for worker in self._staying()
        )
        return self._memory() + (young + 1) * self._limits.memory_mb_per_start <= self._limits.memory_mb

    def _worker(self, session: Session) -> SessionWorker:
        """The session's worker, made if need be; the idlest others make room."""
        if not self._stays(session.id):
            self._make_room(session)
        worker = self._workers.get(session.id)
        if worker is None:
            worker = self._workers[session.id] = SessionWorker(session, self._parts)
            self._tasks[session.id] = asyncio.create_task(self._own(worker), name=f"session {session.id}")
        return worker

    async def _own(self, worker: SessionWorker) -> None:
        try:
            # The worker gets its turn in the same step of the loop that made it, before this first runs.
            await worker.run()
        finally:
            del self._workers[worker.session.id], self._tasks[worker.session.id]

    def _make_room(self, session: Session) -> None:
        mine, staying = self._staying_of(session.user_id), self._staying()
        mine_full = len(mine) >= self._limits.max_live_per_user
        if not mine_full and len(staying) < self._limits.max_live:
            return
        idle = _idlest(mine if mine_full else staying)
        if idle is not None:
            idle.hibernate()

    def _stays(self, session_id: str) -> bool:
        """Whether the session has a place of its own: that of one that hibernates is promised already."""
        worker = self._workers.get(session_id)
        return worker is not None and not worker.hibernating

    def _staying(self) -> list[SessionWorker]:
        return [worker for worker in self._workers.values() if not worker.hibernating]

    def _staying_of(self, user_id: str) -> list[SessionWorker]:
        return [worker for worker in self._staying() if worker.session.user_id == user_id]

    def _long_idle(self, workers: Iterable[SessionWorker]) -> bool:
        idle = _idlest(workers)
        if idle is None:
            return False
        age = self._parts.clock.monotonic() - idle.last_used
        return age >= self._limits.prestart_evicts_after_seconds


def _idlest(workers: Iterable[SessionWorker]) -> SessionWorker | None:
    idle = [worker for worker in workers if worker.turn is None and not worker.hibernating]
    return min(idle, key=lambda worker: worker.last_used, default=None)


def _limit_reached(what: str, limit: int) -> BusyError:
    return BusyError(f"the limit of {limit} {what} is reached; try again shortly", retry_after=_RETRY_SECONDS)
