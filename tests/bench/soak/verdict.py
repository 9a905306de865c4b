"""How much each quantity may grow, and whether it did."""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.figure import Figure, Target
from tests.bench.soak.samples import QUANTITIES, Sample
from tests.bench.soak.slope import fit

__all__ = ["LIMITS", "Limit", "growth", "left_behind"]


@dataclass(frozen=True, slots=True)
class Limit:
    """`once` is what caches and pools may take in whatever time, `per_hour` what may come on top."""

    what: str
    unit: str
    once: float
    per_hour: float

    def within(self, seconds: float) -> float:
        return self.once + self.per_hour * seconds / 3600


LIMITS = {
    "service_memory": Limit("the service's resident memory", "MB", 6, 12),
    "agents_memory": Limit("its agents' proportional memory", "MB", 100, 50),
    "descriptors": Limit("the service's descriptors", "", 4, 6),
    "processes": Limit("processes below it", "", 1, 2),
    "threads": Limit("the service's threads", "", 2, 2),
    "tasks": Limit("the service's asyncio tasks", "", 4, 6),
    "database": Limit("the database's files", "MB", 6, 12),
    "folders": Limit("sessions' private folders", "", 1, 2),
}
# Each reader of the database may have opened its connection meanwhile.
_AT_REST = {"descriptors": 12, "processes": 0, "tasks": 4, "folders": 0}


def growth(samples: Sequence[Sample]) -> list[Figure]:
    """Of every quantity over the second half of the samples; the first half may fill caches and pools."""
    half = samples[len(samples) // 2 :]
    return [_growth(name, half) for name in QUANTITIES]


def left_behind(before: Sample, after: Sample) -> list[Figure]:
    """What the service holds more at rest after the load than at rest before it."""
    return [
        Figure(
            name=f"soak.left.{name}",
            what=f"{LIMITS[name].what} at rest after the load, less at rest before it",
            unit=LIMITS[name].unit,
            value=getattr(after, name) - getattr(before, name),
            n=2,
            targets=(Target("value", limit),),
            details={"before": getattr(before, name), "after": getattr(after, name)},
        )
        for name, limit in _AT_REST.items()
    ]


def _growth(name: str, samples: Sequence[Sample]) -> Figure:
    values = [getattr(sample, name) for sample in samples]
    line, limit = fit([sample.at for sample in samples], values), LIMITS[name]
    return Figure(
        name=f"soak.growth.{name}",
        what=f"certain growth of {limit.what} in {line.seconds / 60:.1f} min (a line's rise less three "
        f"standard errors); {limit.once:g} and {limit.per_hour:g} an hour are allowed",
        unit=limit.unit,
        value=line.certain_rise,
        n=len(samples),
        targets=(Target("value", limit.within(line.seconds)),),
        compared_with={
            "name": "the line",
            "rise": line.rise,
            "standard_error": line.error,
            "an_hour": line.per_hour,
            "least": min(values),
            "most": max(values),
        },
    )
