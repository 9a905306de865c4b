"""Deltas on their way to whoever reads: here, and on other replicas for as long as somebody there asks."""

import math

from claude_agent_http.domain.event import Delta, Withdrawn
from claude_agent_http.domain.wakeup import Wanted
from claude_agent_http.engine.hub import Hub
from claude_agent_http.ports import Clock, Wakeups

_WANTED_SECONDS = 30.0
_ASK_SECONDS = 5.0


class Relay:
    """`ask` and `wanted` are the two ends of one question: a reader's replica asks, the session's answers."""

    def __init__(self, hub: Hub, wakeups: Wakeups, clock: Clock) -> None:
        self._hub = hub
        self._wakeups = wakeups
        self._clock = clock
        self._wanted: dict[str, float] = {}
        self._asked: dict[str, float] = {}

    def delta(self, delta: Delta) -> None:
        self._hub.publish_delta(delta)
        self._tell(delta)

    def withdraw(self, withdrawn: Withdrawn) -> None:
        self._hub.withdraw(withdrawn)
        self._tell(withdrawn)

    def wanted(self, session_id: str) -> None:
        """Somebody elsewhere reads the session: tell what is being written, from its beginning."""
        now = self._clock.monotonic()
        _put_last(self._wanted, session_id, now, older_than=now - _WANTED_SECONDS)
        for delta in self._hub.partials(session_id):
            self._wakeups.tell(delta)

    def ask(self, session_id: str, *, again: bool = False) -> None:
        """Say that somebody here reads it: now and then, or at once when something new was heard of it."""
        now = self._clock.monotonic()
        if not again and now - self._asked.get(session_id, -math.inf) < _ASK_SECONDS:
            return
        _put_last(self._asked, session_id, now, older_than=now - _ASK_SECONDS)
        self._wakeups.tell(Wanted(session_id))

    def _tell(self, item: Delta | Withdrawn) -> None:
        if self._clock.monotonic() - self._wanted.get(item.session_id, -math.inf) < _WANTED_SECONDS:
            self._wakeups.tell(item)


def _put_last(times: dict[str, float], name: str, now: float, *, older_than: float) -> None:
    """Keep the times in their order, so that what is too old stands first."""
    times.pop(name, None)
    times[name] = now
    while times[first := next(iter(times))] <= older_than:
        del times[first]
