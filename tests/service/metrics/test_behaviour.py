"""One suite for every telemetry: all that it is told can be read again, and nothing makes it raise."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from prometheus_client import generate_latest
from tests.service.metrics.readings import Reading, Samples, of_recorded, of_samples

from claude_agent_http.domain import vocabulary
from claude_agent_http.domain.event import Event, NewEvent
from claude_agent_http.domain.telemetry import Expiry, Refusal, StartKind, Takeover
from claude_agent_http.domain.turn import ErrorKind, StopReason, TurnEnd, Usage
from claude_agent_http.engine import NullTelemetry
from claude_agent_http.metrics.prometheus import PrometheusTelemetry
from claude_agent_http.metrics.recorded import RecordedTelemetry
from claude_agent_http.ports import Telemetry


@dataclass
class Told:
    telemetry: Telemetry
    reading: Callable[[], Reading]


def recorded() -> Told:
    telemetry = RecordedTelemetry()
    return Told(telemetry, lambda: of_recorded(telemetry))


def prometheus() -> Told:
    telemetry = PrometheusTelemetry("1.2.3")
    return Told(telemetry, lambda: of_samples(Samples(generate_latest(telemetry.registry).decode())))


@pytest.fixture(params=[recorded, prometheus])
def told(request: pytest.FixtureRequest) -> Told:
    made: Told = request.param()
    return made


def test_nothing_told_is_nothing_read(told: Told) -> None:
    assert told.reading() == Reading()


def test_a_turn_counts_once_with_its_tokens_and_cost(told: Told) -> None:
    for seconds in (1.5, 2.0):
        told.telemetry.turn_began()
        told.telemetry.first_token(0.25)
        told.telemetry.turn_ended(TurnEnd(StopReason.END_TURN, Usage(10, 5, 3, 2, cost_usd=0.5)), seconds)
    assert told.reading() == Reading(
        begun=2,
        ended={"end_turn": 2},
        turn_seconds=(2, 3.5),
        first_token=(2, 0.5),
        tokens={"input": 20, "output": 10, "cache_read_input": 6, "cache_creation_input": 4},
        cost=1.0,
    )


@pytest.mark.parametrize("kind", ErrorKind)
def test_an_error_counts_by_its_kind(told: Told, kind: ErrorKind) -> None:
    told.telemetry.turn_ended(TurnEnd.failed(kind, "why"), 1)
    reading = told.reading()
    assert (reading.errors, reading.ended) == ({kind.value: 1}, {"retries_exhausted": 1})


@pytest.mark.parametrize("reason", StopReason)
def test_a_turn_counts_by_its_stop_reason(told: Told, reason: StopReason) -> None:
    told.telemetry.turn_ended(TurnEnd(reason), 1)
    assert told.reading().ended == {reason.value: 1}


@pytest.mark.parametrize("reason", ["user", "timeout", "shutdown"])
def test_an_interrupt_counts_by_its_reason(told: Told, reason: str) -> None:
    told.telemetry.turn_ended(TurnEnd(StopReason.END_TURN, interrupted=reason), 1)
    assert told.reading().interrupted == {reason: 1}


@pytest.mark.parametrize("kind", StartKind)
def test_a_start_counts_by_its_kind(told: Told, kind: StartKind) -> None:
    told.telemetry.runtime_started(kind, 0.5)
    told.telemetry.runtime_started(kind, 1.5)
    assert told.reading().starts == {kind.value: (2, 2.0)}


@pytest.mark.parametrize("refusal", Refusal)
def test_a_refusal_counts_by_its_reason(told: Told, refusal: Refusal) -> None:
    told.telemetry.message_refused(refusal)
    assert told.reading().refused == {refusal.value: 1}


@pytest.mark.parametrize("outcome", Takeover)
def test_a_takeover_counts_by_its_outcome(told: Told, outcome: Takeover) -> None:
    told.telemetry.takeover(outcome)
    assert told.reading().takeovers == {outcome.value: 1}


@pytest.mark.parametrize("reason", Expiry)
def test_an_expired_session_counts_by_its_reason(told: Told, reason: Expiry) -> None:
    told.telemetry.session_expired(reason)
    assert told.reading().expired == {reason.value: 1}


def test_the_rest_is_counted(told: Told) -> None:
    told.telemetry.runtime_start_failed()
    told.telemetry.runtime_stopped()
    told.telemetry.lease_lost()
    told.telemetry.events_stored([stored(vocabulary.user_message("sevt_1", "hush"))] * 2)
    told.telemetry.events_stored([])
    wanted = Reading(failed_starts=1, stops=1, leases_lost=1, events={"user.message": 2})
    assert told.reading() == wanted


@pytest.mark.parametrize(
    "usage",
    [
        Usage(-1, 0, 0, 0, cost_usd=-2.0),
        Usage(10**400, cost_usd=float("inf")),
        Usage(cost_usd=float("nan")),
        Usage(),
    ],
)
@pytest.mark.parametrize("make", [recorded, prometheus])
def test_what_no_turn_can_use_makes_nothing_raise(make: Callable[[], Told], usage: Usage) -> None:
    told = make()
    told.telemetry.turn_ended(TurnEnd(StopReason.END_TURN, usage, interrupted="a reason of tomorrow"), -1)
    told.telemetry.first_token(-1)
    assert told.reading().ended == {"end_turn": 1}


def test_prometheus_counts_only_upwards_and_knows_its_labels() -> None:
    told = prometheus()
    odd = Usage(10**400, -1, cost_usd=float("nan"))
    told.telemetry.turn_ended(TurnEnd(StopReason.END_TURN, odd, interrupted="session deleted"), -5)
    told.telemetry.turn_ended(TurnEnd(StopReason.END_TURN, interrupted="anything: hush"), 1)
    wanted = Reading(
        ended={"end_turn": 2}, interrupted={"session_deleted": 1, "other": 1}, turn_seconds=(2, 1)
    )
    assert told.reading() == wanted


def test_telemetry_that_nobody_listens_to_takes_everything() -> None:
    nobody = NullTelemetry()
    nobody.turn_began()
    nobody.turn_ended(TurnEnd(StopReason.END_TURN), 1)
    nobody.first_token(1)
    nobody.message_refused(Refusal.BUSY)
    nobody.runtime_started(StartKind.WAKE, 1)
    nobody.runtime_start_failed()
    nobody.runtime_stopped()
    nobody.events_stored([])
    nobody.takeover(Takeover.RERUN)
    nobody.session_expired(Expiry.AGE)
    nobody.lease_lost()


def stored(new: NewEvent) -> Event:
    return Event("s", 1, new.id, new.type, new.data, new.turn_id, datetime.now(UTC))
