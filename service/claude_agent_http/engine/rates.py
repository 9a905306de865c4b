"""How often each user may do something: in memory, so each replica counts what it is asked itself."""

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from claude_agent_http.domain.errors import RateLimitedError
from claude_agent_http.domain.rate import Bucket, Policy, Standing
from claude_agent_http.domain.turn import TurnEnd
from claude_agent_http.domain.usage import Spending
from claude_agent_http.engine.turn import Turn
from claude_agent_http.ports import Clock

__all__ = ["Rate", "TurnRates"]

_MOST_KEYS = 10_000


class Rate:
    """One policy for many keys. Of more than `most` those used longest ago begin anew: they hold most."""

    def __init__(self, policy: Policy, clock: Clock, most: int = _MOST_KEYS) -> None:
        self.policy = policy
        self._clock = clock
        self._most = most
        self._buckets: OrderedDict[Hashable, Bucket] = OrderedDict()

    def take(self, key: Hashable) -> Standing:
        """Use one. Raises RateLimitedError, with nothing used, when there is none."""
        self.check(key)
        return self.charge(key, 1)

    def check(self, key: Hashable) -> None:
        """Raises RateLimitedError unless there is at least one."""
        standing = self.standing(key)
        if standing.wait:
            raise RateLimitedError(standing)

    def charge(self, key: Hashable, amount: float) -> Standing:
        """Use so much, also more than there is: that is to be waited for."""
        bucket = self._buckets[key] = self._bucket(key).less(amount)
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        return Standing.of(self.policy, bucket)

    def standing(self, key: Hashable) -> Standing:
        return Standing.of(self.policy, self._bucket(key))

    def _bucket(self, key: Hashable) -> Bucket:
        now = self._clock.monotonic()
        known = self._buckets.get(key)
        return Bucket.full(self.policy, now) if known is None else known.at_time(self.policy, now)


@dataclass(frozen=True, slots=True)
class TurnRates:
    """What each user may have done by agents; None is no limit. Tokens are known when they are used, so one
    turn may use more than there is: the next one waits for it.

    `is_metered`: of turns that run here `used` tells, request by request; else each is counted at its end."""

    turns: Rate | None = None
    tokens: Rate | None = None
    is_metered: bool = False

    @contextmanager
    def beginning(self, user_id: str) -> Iterator[None]:
        """Count a turn before it begins: of many at once not all shall find the same one free. One that is
        refused inside counts as none; one whose caller waits no longer may begin all the same, and counts.

        Raises RateLimitedError, with nothing counted, when the user may begin none now.
        """
        if self.tokens is not None:
            self.tokens.check(user_id)
        if self.turns is not None:
            self.turns.take(user_id)
        try:
            yield
        except Exception:
            if self.turns is not None:
                self.turns.charge(user_id, -1)
            raise

    def used(self, user_id: str, spending: Spending) -> None:
        """Count the tokens of those kinds that the model API limits too."""
        if self.tokens is not None:
            self.tokens.charge(user_id, spending.limited_tokens)

    def began(self, turn: Turn, *, is_here: bool) -> None:
        """Count the turn's tokens where nobody else tells of them. `is_here`: it runs here."""
        if (tokens := self.tokens) is not None and not (self.is_metered and is_here):
            turn.ended.add_done_callback(lambda ended: _count(tokens, turn.user_id, ended.result()))


def _count(tokens: Rate, user_id: str | None, end: TurnEnd) -> None:
    if (usage := end.usage) is not None:
        tokens.charge(user_id, usage.limited_tokens)
