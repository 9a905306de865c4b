"""Telemetry as Prometheus counts it. `docs/metrics.md` says what each metric means."""

from collections.abc import Iterable, Sequence
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, ProcessCollector

from claude_agent_http.domain.event import Event, EventType
from claude_agent_http.domain.telemetry import Expiry, Refusal, StartKind, Takeover
from claude_agent_http.domain.turn import ErrorKind, StopReason, TurnEnd, Usage

__all__ = ["PREFIX", "PrometheusTelemetry"]

PREFIX = "claude_agent_"

_TURN_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_FIRST_TOKEN_SECONDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2.5, 5, 10, 20, 60)
_START_SECONDS = (0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2.5, 5, 10, 20, 30, 60)
_INTERRUPTS = ("user", "timeout", "shutdown", "session_deleted", "other")
_TOKENS = ("input", "output", "cache_read_input", "cache_creation_input")
# A model's endpoint may tell anything of itself: what no turn can use is not added.
_MOST = 1e15


class PrometheusTelemetry:
    """See `ports.Telemetry`. Every value of every label is there from the start, so that rates begin at 0."""

    def __init__(self, version: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        Info(f"{PREFIX}build", "Version of the service.", registry=self.registry).info({"version": version})
        self._turns_begun = self._counter(
            "turns_begun", "Turns that began here: their message was stored, or they were taken over."
        )
        self._turns = self._counters("turns", "Turns that ended here.", "stop_reason", StopReason)
        self._interrupts = self._counters(
            "turns_interrupted", "Turns that were interrupted.", "reason", _INTERRUPTS
        )
        self._errors = self._counters("errors", "Turns that ended with an error.", "kind", ErrorKind)
        self._refusals = self._counters("messages_refused", "Messages not taken.", "reason", Refusal)
        self._tokens = self._counters("tokens", "Tokens of ended turns.", "kind", _TOKENS)
        self._cost = self._counter("cost_usd", "US dollars that turns cost, as the CLI reckons them.")
        self._turn_seconds = self._histogram(
            "turn_seconds", "From a message to the stored end of its turn.", _TURN_SECONDS
        )
        self._first_token = self._histogram(
            "first_token_seconds", "From a message to the beginning of its answer.", _FIRST_TOKEN_SECONDS
        )
        starts = Histogram(
            f"{PREFIX}runtime_start_seconds",
            "What the start of an agent process took.",
            ["kind"],
            buckets=_START_SECONDS,
            registry=self.registry,
        )
        self._starts = {kind: starts.labels(kind.value) for kind in StartKind}
        self._failed_starts = self._counter("runtime_start_failures", "Agent processes that did not start.")
        self._stops = self._counter("runtimes_stopped", "Agent processes that ended.")
        self._events = self._counters("events_stored", "Events stored.", "type", EventType)
        self._takeovers = self._counters("takeovers", "Turns of lost replicas.", "outcome", Takeover)
        self._expired = self._counters(
            "sessions_expired", "Closed sessions deleted by the retention limits.", "reason", Expiry
        )
        self._leases_lost = self._counter("leases_lost", "Sessions that another replica took away.")

    def turn_began(self) -> None:
        self._turns_begun.inc()

    def turn_ended(self, end: TurnEnd, seconds: float) -> None:
        self._turns[end.stop_reason].inc()
        self._turn_seconds.observe(max(0.0, seconds))
        if end.interrupted is not None:
            reason = end.interrupted.replace(" ", "_")
            self._interrupts[reason if reason in self._interrupts else "other"].inc()
        if end.error is not None:
            self._errors[end.error.kind].inc()
        if end.usage is not None:
            self._use(end.usage)

    def first_token(self, seconds: float) -> None:
        self._first_token.observe(max(0.0, seconds))

    def message_refused(self, refusal: Refusal) -> None:
        self._refusals[refusal].inc()

    def runtime_started(self, kind: StartKind, seconds: float) -> None:
        self._starts[kind].observe(max(0.0, seconds))

    def runtime_start_failed(self) -> None:
        self._failed_starts.inc()

    def runtime_stopped(self) -> None:
        self._stops.inc()

    def events_stored(self, events: Sequence[Event]) -> None:
        for event in events:
            self._events[event.type].inc()

    def takeover(self, outcome: Takeover) -> None:
        self._takeovers[outcome].inc()

    def session_expired(self, reason: Expiry) -> None:
        self._expired[reason].inc()

    def lease_lost(self) -> None:
        self._leases_lost.inc()

    def _use(self, usage: Usage) -> None:
        for kind in _TOKENS:
            _add(self._tokens[kind], getattr(usage, f"{kind}_tokens"))
        _add(self._cost, usage.cost_usd or 0)

    def _counter(self, name: str, meaning: str) -> Counter:
        return Counter(f"{PREFIX}{name}_total", meaning, registry=self.registry)

    def _counters(
        self, name: str, meaning: str, label: str, values: Iterable[str | StrEnum]
    ) -> dict[str, Counter]:
        """One for each value of the label."""
        all_of_them = Counter(f"{PREFIX}{name}_total", meaning, [label], registry=self.registry)
        return {str(value): all_of_them.labels(str(value)) for value in values}

    def _histogram(self, name: str, meaning: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(f"{PREFIX}{name}", meaning, buckets=buckets, registry=self.registry)


def _add(counter: Counter, amount: float) -> None:
    if 0 < amount < _MOST:
        counter.inc(amount)
