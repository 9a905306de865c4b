"""What one measurement says: a figure, its distribution, its target and what stands beside it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal

__all__ = ["Figure", "Finding", "NotMeasured", "Target", "distribution", "quantile"]

Statistic = Literal["value", "p50", "p99"]


@dataclass(frozen=True, slots=True)
class Target:
    """`statistic` of a figure must be at most `limit`, or at least that."""

    statistic: Statistic
    limit: float
    at_least: bool = False

    def met_by(self, measured: float) -> bool:
        return measured >= self.limit if self.at_least else measured <= self.limit

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        return f"{'' if self.statistic == 'value' else self.statistic + ' '}{sign} {self.limit:,g}"


@dataclass(frozen=True, slots=True)
class Figure:
    """`value` is the median where there is a distribution. `compared_with` holds what was measured beside it
    in the same run, under `name`, in its unit unless that says otherwise; `details` what helps to read it.
    """

    name: str
    what: str
    unit: str
    value: float
    n: int
    p50: float | None = None
    p99: float | None = None
    targets: tuple[Target, ...] = ()
    compared_with: Mapping[str, Any] | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        samples: Sequence[float],
        *,
        name: str,
        what: str,
        unit: str,
        targets: tuple[Target, ...] = (),
        compared_with: Mapping[str, Any] | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> "Figure":
        """The distribution of samples."""
        p50, p99 = quantile(samples, 0.5), quantile(samples, 0.99)
        return cls(name, what, unit, p50, len(samples), p50, p99, targets, compared_with, details or {})

    @classmethod
    def ratio(
        cls,
        served: Sequence[float],
        bare: Sequence[float],
        *,
        name: str,
        what: str,
        beside: str,
        targets: tuple[Target, ...],
        details: Mapping[str, Any] | None = None,
    ) -> "Figure":
        """The medians' ratio of samples that were taken in pairs; p50 and p99 are of the pairs' ratios."""
        ratios = [one / other for one, other in zip(served, bare, strict=True)]
        return cls(
            name=name,
            what=f"{what}, over the bare SDK; ratio of medians",
            unit="x",
            value=median(served) / median(bare),
            n=len(served),
            p50=quantile(ratios, 0.5),
            p99=quantile(ratios, 0.99),
            targets=targets,
            compared_with={"name": beside, **distribution(bare), **distribution(served, "service_")},
            details=details or {},
        )

    @property
    def met(self) -> bool | None:
        """None without a target."""
        if not self.targets:
            return None
        return all(target.met_by(self._measured(target.statistic)) for target in self.targets)

    def as_json(self, environment: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "name": self.name,
            "what": self.what,
            "unit": self.unit,
            "value": _rounded(self.value),
            "p50": _rounded(self.p50),
            "p99": _rounded(self.p99),
            "n": self.n,
            "target": ", ".join(map(str, self.targets)) or None,
            "met": self.met,
            "compared_with": _rounded(self.compared_with),
            "details": _rounded(self.details),
            "environment": environment,
        }

    def _measured(self, statistic: Statistic) -> float:
        measured = {"value": self.value, "p50": self.p50, "p99": self.p99}[statistic]
        if measured is None:
            raise ValueError(f"{self.name} has no {statistic}")
        return measured


@dataclass(frozen=True, slots=True)
class NotMeasured:
    """A figure that could not be had, and why: a reader is to see that it is missing."""

    name: str
    what: str
    reason: str

    def as_json(self, environment: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "name": self.name,
            "what": self.what,
            "value": None,
            "not_measured": self.reason,
            "environment": environment,
        }


Finding = Figure | NotMeasured


def quantile(samples: Sequence[float], share: float) -> float:
    """The nearest rank: always a sample that was measured, the largest when there are few."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def distribution(samples: Sequence[float], prefix: str = "") -> dict[str, float]:
    return {f"{prefix}p50": quantile(samples, 0.5), f"{prefix}p99": quantile(samples, 0.99)}


def _rounded(value: Any) -> Any:
    """Four significant digits: more would be noise."""
    if isinstance(value, bool) or not isinstance(value, float | Mapping):
        return value
    if isinstance(value, Mapping):
        return {name: _rounded(part) for name, part in value.items()}
    return float(f"{value:.4g}")
