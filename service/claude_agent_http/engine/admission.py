"""Who may become live, and who makes room: the limits on sessions, turns and memory."""

from collections.abc import Callable, Iterable, Mapping

from claude_agent_http.domain.errors import BusyError
from claude_agent_http.domain.session import Session
from claude_agent_http.domain.telemetry import Refusal
from claude_agent_http.engine.limits import Limits
from claude_agent_http.engine.worker import SessionWorker
from claude_agent_http.ports import Clock

MemoryGauge = Callable[[], int]
"""MiB that the service and its agent processes use, as last measured."""

_RETRY_SECONDS = 5
_YOUNG_SECONDS = 5.0


class Admission:
    """Only reads the live sessions' `workers`; the one that must make room is told to hibernate.

    A session that hibernates gives its place away once it has no turn.
    """

    def __init__(
        self, workers: Mapping[str, SessionWorker], limits: Limits, clock: Clock, memory: MemoryGauge
    ) -> None:
        self._workers = workers
        self._limits = limits
        self._clock = clock
        self._memory = memory

    @property
    def turns(self) -> int:
        """In progress, of whatever session."""
        return sum(worker.turn is not None for worker in self._workers.values())

    def admit_turn(self, session: Session) -> None:
        """Let the session run a turn, the idlest others making room.

        Raises BusyError, with nobody stopped, when all that stands in the way is busy.
        """
        self.check_turn(session)
        if not self._has_place(session.id):
            self._make_memory()
            self._make_place(session.user_id)

    def check_turn(self, session: Session) -> None:
        """Raises BusyError as `admit_turn` does; nobody makes room yet."""
        self._check_turns()
        if self._has_place(session.id):
            return
        self._check_places(session.user_id)
        if not self._has_memory_for_one_more() and _idlest(self._workers.values()) is None:
            raise self._out_of_memory()

    def admit_warm(self, session: Session) -> bool:
        """Let the session start ahead of its first turn, if nobody but the long idle makes room for it."""
        if not self._has_memory_for_one_more():
            return False
        rivals = self._rivals(session.user_id)
        if rivals is not None and not self._long_idle(rivals):
            return False
        self._make_place(session.user_id)
        return True

    def relieve(self) -> None:
        """Stop the idlest session while more memory is used than may be."""
        if self._memory() > self._limits.memory_mb and (idle := _idlest(self._workers.values())) is not None:
            idle.hibernate()

    def _check_turns(self) -> None:
        if self.turns >= self._limits.max_turns_at_once:
            raise _limit_reached("turns at once", self._limits.max_turns_at_once, Refusal.TURNS)

    def _check_places(self, user_id: str) -> None:
        busy = [worker for worker in self._placed_of(user_id) if worker.turn is not None]
        if len(busy) >= self._limits.max_live_per_user:
            most = self._limits.max_live_per_user
            raise _limit_reached("busy sessions of one user", most, Refusal.USER_SESSIONS)
        if self.turns >= self._limits.max_live:
            raise _limit_reached("live sessions", self._limits.max_live, Refusal.LIVE_SESSIONS)

    def _make_memory(self) -> None:
        idle = _idlest(self._workers.values())
        if idle is not None and not self._has_memory_for_one_more():
            idle.hibernate()

    def _make_place(self, user_id: str) -> None:
        rivals = self._rivals(user_id)
        if rivals is not None and (idle := _idlest(rivals)) is not None:
            idle.hibernate()

    def _rivals(self, user_id: str) -> list[SessionWorker] | None:
        """Those of whom one must go before the user has another place; None while there is a free one."""
        mine, placed = self._placed_of(user_id), self._placed()
        if len(mine) >= self._limits.max_live_per_user:
            return mine
        return placed if len(placed) >= self._limits.max_live else None

    def _has_memory_for_one_more(self) -> bool:
        """Counts the runtimes that are too young to stand in the last measurement."""
        now = self._clock.monotonic()
        young = sum(
            worker.runtime_since is None or now - worker.runtime_since < _YOUNG_SECONDS
            for worker in self._placed()
        )
        return self._memory() + (young + 1) * self._limits.memory_mb_per_start <= self._limits.memory_mb

    def _out_of_memory(self) -> BusyError:
        limits = self._limits
        if not self._workers:
            return BusyError(
                f"the memory limit of {limits.memory_mb} MB leaves no room for one agent process: "
                f"{self._memory()} MB are in use, and one needs {limits.memory_mb_per_start} MB; "
                "raise api.memory_limit_mb",
                retry_after=60,
                refusal=Refusal.MEMORY,
            )
        message = f"the memory limit of {limits.memory_mb} MB is reached and every live session is busy"
        return BusyError(message, retry_after=_RETRY_SECONDS, refusal=Refusal.MEMORY)

    def _has_place(self, session_id: str) -> bool:
        worker = self._workers.get(session_id)
        return worker is not None and not _gave_way(worker)

    def _placed(self) -> list[SessionWorker]:
        return [worker for worker in self._workers.values() if not _gave_way(worker)]

    def _placed_of(self, user_id: str) -> list[SessionWorker]:
        return [worker for worker in self._placed() if worker.session.user_id == user_id]

    def _long_idle(self, workers: Iterable[SessionWorker]) -> bool:
        idle = _idlest(workers)
        if idle is None:
            return False
        return self._clock.monotonic() - idle.last_used >= self._limits.prestart_evicts_after_seconds


def _gave_way(worker: SessionWorker) -> bool:
    return worker.hibernating and worker.turn is None


def _idlest(workers: Iterable[SessionWorker]) -> SessionWorker | None:
    idle = [worker for worker in workers if worker.turn is None and not worker.hibernating]
    return min(idle, key=lambda worker: worker.last_used, default=None)


def _limit_reached(what: str, limit: int, refusal: Refusal) -> BusyError:
    message = f"the limit of {limit} {what} is reached; try again shortly"
    return BusyError(message, retry_after=_RETRY_SECONDS, refusal=refusal)
