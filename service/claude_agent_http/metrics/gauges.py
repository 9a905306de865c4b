"""The state of the service as gauges."""

from collections.abc import Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from claude_agent_http.metrics.prometheus import PREFIX
from claude_agent_http.metrics.state import ServiceState

__all__ = ["StateGauges"]

_MIB = 1024 * 1024


class StateGauges(Collector):
    """Of one moment: made for one scrape."""

    def __init__(self, state: ServiceState) -> None:
        self._state = state

    def collect(self) -> Iterator[GaugeMetricFamily]:
        state = self._state
        yield _labelled("sessions", "Live sessions of this process.", "state", self._sessions())
        yield _gauge("turns_in_progress", "Turns that have not ended.", state.stats.turns)
        yield _gauge("memory_bytes", "What the service and its agents use.", state.memory_mb * _MIB)
        yield _gauge("database_up", "Whether the database answered.", state.stored is not None)
        stored = {status.value: number for status, number in (state.stored or {}).items()}
        yield _labelled("stored_sessions", "Sessions in the database.", "status", stored)
        if state.leases is not None:
            yield _gauge("leases_held", "Sessions that this replica may run.", state.leases)
        if state.replicas is not None:
            yield _gauge("replicas", "Replicas that share the database.", state.replicas)

    def _sessions(self) -> dict[str, int]:
        """Each live session is in one of these states."""
        stats = self._state.stats
        placed = stats.queued + stats.starting + stats.runtimes
        return {
            "queued": stats.queued,
            "starting": stats.starting,
            "idle": stats.runtimes - stats.busy,
            "running": stats.busy,
            "stopping": max(0, stats.live - placed),
        }


def _gauge(name: str, meaning: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, meaning, value=value)


def _labelled(name: str, meaning: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(PREFIX + name, meaning, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family
