"""An event loop in which time stands still until a test moves it, and nothing ever waits for real."""

import asyncio
import selectors

from claude_agent_http.system.clock import ManualClock

_MANY_PASSES = 20_000
_A_MOMENT = 1e-6  # past a timer's time, so that rounding does not leave it just ahead


class StillLoop(asyncio.SelectorEventLoop):
    """`clock` is its time too. What runs in it must need no thread and no file descriptor."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self._selector_of_nothing = _NothingToSelect()
        super().__init__(self._selector_of_nothing)
        self._selector_of_nothing.when_idle = self.stop

    def time(self) -> float:
        return self.clock.monotonic()

    def passes(self, count: int) -> None:
        """Let everything that is ready run, so many times."""
        for _ in range(count):
            self.call_soon(self.stop)
            self.run_forever()

    def until_idle(self) -> bool:
        """Until nothing more can happen at this moment: whether anything did. Raises AssertionError when
        there is no end to it."""
        self._selector_of_nothing.polls = 0
        self.run_forever()
        return self._selector_of_nothing.polls > 1

    @property
    def ahead(self) -> float | None:
        """Seconds to its next timer, None without one; as of when it was last idle."""
        return self._selector_of_nothing.next_timer

    def glide(self, seconds: float) -> None:
        """Let the time pass, each timer at its own moment."""
        end = self.time() + seconds
        self.until_idle()
        while (ahead := self.ahead) is not None and self.time() + ahead < end:
            self.clock.advance(ahead + _A_MOMENT)
            self.until_idle()
        self.clock.advance(max(0.0, end - self.time()))
        self.until_idle()


class _NothingToSelect(selectors.SelectSelector):
    """Sees no file ready; learns when the loop has nothing to do, and for how long."""

    def __init__(self) -> None:
        super().__init__()
        self.when_idle = _unset
        self.next_timer: float | None = None
        self.polls = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.polls += 1
        assert self.polls < _MANY_PASSES, "the loop does not come to rest: something spins"
        if timeout is None or timeout > 0:
            self.next_timer = timeout
            self.when_idle()
        return []


def _unset() -> None:
    return None
