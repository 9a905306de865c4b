"""Token buckets: how often something may be done, with room for a burst."""

import math
from dataclasses import dataclass

__all__ = ["MINUTE", "Bucket", "Policy", "Standing"]

MINUTE = 60


@dataclass(frozen=True, slots=True)
class Policy:
    """`quota` in each `window` of seconds, spread evenly, and at most so much at once. `name` is how callers
    know it; it is made of letters, digits and `-`."""

    name: str
    quota: int
    window: int = MINUTE

    def seconds_for(self, amount: float) -> float:
        """How long it takes until so much may be used anew."""
        return amount * self.window / self.quota


@dataclass(frozen=True, slots=True)
class Bucket:
    """What may be used at a moment, in seconds of a monotonic clock; less than nothing when more was used."""

    level: float
    at: float

    @classmethod
    def full(cls, policy: Policy, now: float) -> "Bucket":
        return cls(policy.quota, now)

    def at_time(self, policy: Policy, now: float) -> "Bucket":
        gained = max(0.0, now - self.at) * policy.quota / policy.window
        return Bucket(min(float(policy.quota), self.level + gained), now)

    def less(self, amount: float) -> "Bucket":
        return Bucket(self.level - amount, self.at)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one caller stands: `remaining` may be used now, more than that after `more` seconds, None when
    all is there, and anything at all after `wait` seconds, 0 when that is now."""

    policy: Policy
    remaining: int
    more: int | None
    wait: int

    @classmethod
    def of(cls, policy: Policy, bucket: Bucket) -> "Standing":
        missing = policy.seconds_for(max(0.0, 1 - bucket.level))
        remaining = max(0, math.floor(bucket.level))
        more = policy.seconds_for(remaining + 1 - bucket.level) if remaining < policy.quota else None
        return cls(policy, remaining, None if more is None else math.ceil(more), math.ceil(missing))
