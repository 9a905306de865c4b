"""How often callers may ask, and users begin turns, as the settings choose it."""

from dataclasses import dataclass

from claude_agent_http.api.rate_limit import RequestRates
from claude_agent_http.domain.rate import Policy
from claude_agent_http.engine import Rate, TurnRates
from claude_agent_http.ports import Clock
from claude_agent_http.settings import LimitsSettings

__all__ = ["Rates", "configured_rates"]

# A page that follows several sessions asks a few times a second; a person begins few turns a minute, a script
# one a second; a busy coding agent has the model read some 100,000 new tokens a minute.
_REQUESTS = 600
_TURNS = 60
_TOKENS = 1_000_000
# A client whose key expired tries again every second or so.
_FAILURES = 60
# A person has some tabs open, each with some streams. No caller shall take most of all connections.
_AT_ONCE = 100
_PART_OF_CONNECTIONS = 4


@dataclass(frozen=True, slots=True)
class Rates:
    requests: RequestRates
    turns: TurnRates


def configured_rates(limits: LimitsSettings, clock: Clock, *, asks_who: bool, connections: int = 0) -> Rates:
    """Where nobody is asked who they are, only what is set counts. `connections` is their limit, or 0."""

    def rate(name: str, given: int | None, usual: int) -> Rate | None:
        quota = (usual if asks_who else 0) if given is None else given
        return Rate(Policy(name, quota), clock) if quota else None

    at_once = limits.requests_at_once
    if at_once is None and asks_who:
        at_once = min(_AT_ONCE, max(1, connections // _PART_OF_CONNECTIONS)) if connections else _AT_ONCE
    return Rates(
        RequestRates(
            callers=rate("requests", limits.requests_per_minute, _REQUESTS),
            strangers=rate("failures", limits.failures_per_minute, _FAILURES) if asks_who else None,
            at_once=at_once or None,
        ),
        TurnRates(
            turns=rate("turns", limits.turns_per_minute, _TURNS),
            tokens=rate("tokens", limits.tokens_per_minute, _TOKENS),
            is_metered=True,
        ),
    )
