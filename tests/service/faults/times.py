"""The time in which replicas live, each in an event loop of its own: still, until it is moved, or real.

A replica that is paused is one whose loop does not run; one that is killed never runs again.
"""

import asyncio
import math
import random
import time
from collections.abc import Callable, Collection
from typing import Any, Protocol

from tests.service.engine.machine_loop import StillLoop

from claude_agent_http.ports import Clock
from claude_agent_http.system.clock import ManualClock, SystemClock

_TICK_SECONDS = 0.0005
_AFTERWARDS_SECONDS = 20.0
_TRIES = 3
_FEW_ROUNDS, _MANY_ROUNDS = 100, 10_000
_A_MOMENT = 1e-6  # past a timer's time, so that rounding does not leave it just ahead


class Loop(Protocol):
    def create_task(self, work, *, name: str | None = None) -> asyncio.Task: ...
    def call_soon(self, call: Callable, *args: object) -> asyncio.Handle: ...
    def passes(self, count: int) -> None:
        """Let everything that is ready run, so many times."""
        ...

    def close(self) -> None: ...


class Time(Protocol):
    """Takes only loops of its own."""

    @property
    def clock(self) -> Clock: ...
    def loop(self) -> Loop: ...
    def pass_by(self, seconds: float, loops: Callable[[], Collection[Any]], each: Callable[[], None]) -> None:
        """Let the loops run so long; `each` is called when the time has moved, before any of them runs."""
        ...

    def run_out(self, loop: Any, last: asyncio.Task) -> None:
        """Let `last` end, and cancel every other task of a loop that no other is to notice any more."""
        ...


class StillTime:
    """Goes from timer to timer, so that seconds cost nothing. A life that `dice` drew is always the same."""

    def __init__(self, dice: random.Random) -> None:
        self.clock = ManualClock()
        self._dice = dice

    def loop(self) -> StillLoop:
        return StillLoop(self.clock)

    def pass_by(
        self, seconds: float, loops: Callable[[], Collection[StillLoop]], each: Callable[[], None]
    ) -> None:
        end = self.clock.monotonic() + seconds
        while True:
            self._until_idle(loops)
            now = self.clock.monotonic()
            ahead = min((loop.ahead for loop in loops() if loop.ahead is not None), default=math.inf)
            if now + ahead > end + _A_MOMENT:
                break
            self.clock.advance(ahead + _A_MOMENT)
            each()
        self.clock.advance(max(0.0, end - self.clock.monotonic()))
        each()
        self._until_idle(loops)

    def _until_idle(self, loops: Callable[[], Collection[StillLoop]]) -> None:
        """Until none has anything to do at this moment, one after the other in any order."""
        for number in range(_MANY_ROUNDS):
            if number > _FEW_ROUNDS:  # for one that waits for a moment that is as good as now
                self.clock.advance(_A_MOMENT)
            order = list(loops())
            self._dice.shuffle(order)
            if not sum([loop.until_idle() for loop in order]):
                return
        raise AssertionError("the replicas do not come to rest")

    def run_out(self, loop: StillLoop, last: asyncio.Task) -> None:
        loop.clock = ManualClock()
        loop.clock.advance(self.clock.monotonic())
        for _ in range(_TRIES):  # some wait for others at their end
            for task in asyncio.all_tasks(loop) - {last}:
                task.cancel()
            loop.glide(_AFTERWARDS_SECONDS)
        _assert_over(loop)


class LiveLoop(asyncio.SelectorEventLoop):
    def passes(self, count: int) -> None:
        for _ in range(count):
            self.call_soon(self.stop)
            self.run_forever()


class RealTime:
    """For what needs files and sockets: the loops take turns in one thread."""

    def __init__(self) -> None:
        self.clock = SystemClock()

    def loop(self) -> LiveLoop:
        return LiveLoop()

    def pass_by(
        self, seconds: float, loops: Callable[[], Collection[LiveLoop]], each: Callable[[], None]
    ) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            each()
            for loop in loops():
                loop.passes(1)
            time.sleep(_TICK_SECONDS)  # Files and sockets move on by themselves; nothing says when.

    def run_out(self, loop: LiveLoop, last: asyncio.Task) -> None:
        end = time.monotonic() + _AFTERWARDS_SECONDS
        while not last.done() and time.monotonic() < end:
            _tick(loop)
        while (tasks := asyncio.all_tasks(loop)) and time.monotonic() < end:
            for task in tasks:
                task.cancel()
            for _ in range(20):
                _tick(loop)
        _assert_over(loop)


def _tick(loop: LiveLoop) -> None:
    loop.passes(1)
    time.sleep(_TICK_SECONDS)  # as in `pass_by`


def _assert_over(loop: asyncio.AbstractEventLoop) -> None:
    left = [task.get_name() for task in asyncio.all_tasks(loop)]
    assert not left, f"tasks that do not end: {left}"
