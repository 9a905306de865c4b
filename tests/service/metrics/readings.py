"""One way to read what a telemetry was told, whichever it is."""

from collections import Counter
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from claude_agent_http.metrics.recorded import RecordedTelemetry


@dataclass
class Reading:
    """Only what is not zero. Of durations: how many, and their sum in seconds."""

    begun: float = 0
    ended: dict[str, float] = field(default_factory=dict)
    interrupted: dict[str, float] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    turn_seconds: tuple[float, float] = (0, 0)
    first_token: tuple[float, float] = (0, 0)
    tokens: dict[str, float] = field(default_factory=dict)
    cost: float = 0
    refused: dict[str, float] = field(default_factory=dict)
    starts: dict[str, tuple[float, float]] = field(default_factory=dict)
    failed_starts: float = 0
    stops: float = 0
    events: dict[str, float] = field(default_factory=dict)
    takeovers: dict[str, float] = field(default_factory=dict)
    expired: dict[str, float] = field(default_factory=dict)
    leases_lost: float = 0


def of_recorded(told: RecordedTelemetry) -> Reading:
    ends = [end for end, _ in told.turns]
    usages = [end.usage for end in ends if end.usage is not None]
    starts = {kind: [seconds for one, seconds in told.starts if one is kind] for kind, _ in told.starts}
    tokens = Counter[str]()
    for usage in usages:
        tokens.update(
            input=usage.input_tokens,
            output=usage.output_tokens,
            cache_read_input=usage.cache_read_input_tokens,
            cache_creation_input=usage.cache_creation_input_tokens,
        )
    return Reading(
        begun=told.turns_begun,
        ended=dict(Counter(end.stop_reason.value for end in ends)),
        interrupted=dict(Counter(end.interrupted for end in ends if end.interrupted)),
        errors=dict(Counter(end.error.kind.value for end in ends if end.error)),
        turn_seconds=_durations([seconds for _, seconds in told.turns]),
        first_token=_durations(told.first_tokens),
        tokens={kind: number for kind, number in tokens.items() if number},
        cost=sum(usage.cost_usd or 0 for usage in usages),
        refused=dict(Counter(refusal.value for refusal in told.refusals)),
        starts={kind.value: _durations(seconds) for kind, seconds in starts.items()},
        failed_starts=told.failed_starts,
        stops=told.stops,
        events=dict(Counter(kind.value for kind in told.events)),
        takeovers=dict(Counter(outcome.value for outcome in told.takeovers)),
        expired=dict(Counter(reason.value for reason in told.expired)),
        leases_lost=told.leases_lost,
    )


class Samples:
    """The samples of one scrape, from its text."""

    def __init__(self, text: str) -> None:
        families = list(text_string_to_metric_families(text))
        self.types = {family.name: family.type for family in families}
        self.all = [sample for family in families for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        """Raises ValueError unless there is exactly one."""
        [value] = [one.value for one in self.all if one.name == name and one.labels == labels]
        return value

    def by(self, name: str, label: str) -> dict[str, float]:
        """Those that are not zero, by the value of their only label."""
        found = [one for one in self.all if one.name == name]
        assert all(set(one.labels) == {label} for one in found), name
        return {one.labels[label]: one.value for one in found if one.value}

    def durations(self, name: str, **labels: str) -> tuple[float, float]:
        return self.value(f"{name}_count", **labels), self.value(f"{name}_sum", **labels)


def of_samples(seen: Samples) -> Reading:
    start = "claude_agent_runtime_start_seconds"
    return Reading(
        begun=seen.value("claude_agent_turns_begun_total"),
        ended=seen.by("claude_agent_turns_total", "stop_reason"),
        interrupted=seen.by("claude_agent_turns_interrupted_total", "reason"),
        errors=seen.by("claude_agent_errors_total", "kind"),
        turn_seconds=seen.durations("claude_agent_turn_seconds"),
        first_token=seen.durations("claude_agent_first_token_seconds"),
        tokens=seen.by("claude_agent_tokens_total", "kind"),
        cost=seen.value("claude_agent_cost_usd_total"),
        refused=seen.by("claude_agent_messages_refused_total", "reason"),
        starts={kind: seen.durations(start, kind=kind) for kind in seen.by(f"{start}_count", "kind")},
        failed_starts=seen.value("claude_agent_runtime_start_failures_total"),
        stops=seen.value("claude_agent_runtimes_stopped_total"),
        events=seen.by("claude_agent_events_stored_total", "type"),
        takeovers=seen.by("claude_agent_takeovers_total", "outcome"),
        expired=seen.by("claude_agent_sessions_expired_total", "reason"),
        leases_lost=seen.value("claude_agent_leases_lost_total"),
    )


def _durations(seconds: list[float]) -> tuple[float, float]:
    return len(seconds), sum(seconds)
