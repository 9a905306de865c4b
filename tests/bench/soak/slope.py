"""Whether something grows: a line through its samples, and how sure that line is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

__all__ = ["Line", "fit"]

_STANDARD_ERRORS = 3.0


@dataclass(frozen=True, slots=True)
class Line:
    """`rise` is what the line rises over its samples, in their unit; `error` is the standard error of that;
    `seconds` is how long the samples took."""

    rise: float
    error: float
    seconds: float

    @property
    def certain_rise(self) -> float:
        """What it rises at least: three standard errors less, and never below 0."""
        return max(0.0, self.rise - _STANDARD_ERRORS * self.error)

    @property
    def per_hour(self) -> float:
        return self.rise / self.seconds * 3600


def fit(times: Sequence[float], values: Sequence[float]) -> Line:
    """Least squares. Raises ValueError for fewer than three samples, or all of one moment."""
    if len(times) < 3 or times[0] == times[-1]:
        raise ValueError("a line and its error take three samples at different times")
    middle, mean = fmean(times), fmean(values)
    spread = sum((at - middle) ** 2 for at in times)
    slope = sum((at - middle) * (value - mean) for at, value in zip(times, values, strict=True)) / spread
    left = sum((value - mean - slope * (at - middle)) ** 2 for at, value in zip(times, values, strict=True))
    error = math.sqrt(left / (len(times) - 2) / spread)
    seconds = times[-1] - times[0]
    return Line(slope * seconds, error * seconds, seconds)
