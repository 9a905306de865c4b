"""Random lives of an engine over fakes: whatever overlaps in whatever order, the log keeps its promises.

Time stands still, and a call of a store or a runtime that meets a closed gate returns when a rule lets it,
so a drawn life is the same in every run. Rules begin operations and let the loop go some passes.
"""

from collections import Counter
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from structlog.testing import capture_logs
from tests.proof import amount
from tests.service.engine.machine_checks import check_log
from tests.service.engine.machine_life import EVERY_TIMER, FAULTS, PLAYS, TAKEOVER, Life
from tests.service.engine.machine_requests import REQUESTS, Request
from tests.service.engine.machine_world import GATES

from claude_agent_http.domain.errors import BusyError
from claude_agent_http.domain.session import Session, SessionPhase, SessionStatus, project
from claude_agent_http.engine import Limits

pytestmark = pytest.mark.timeout(1800)
PACE = st.sampled_from([0, 0, 1, 2, 3, 5, 8, None, None])
"""Passes of the loop after a rule; None: until nothing more can happen at this moment."""
NUMBER = st.integers(0, 30)
SECONDS = st.sampled_from([0.001, 0.1, 1.0, 4.0, 6.0, 31.0, 40.0, 90.0])
IDLE, TTL = 40.0, 90.0
LIMITS = st.builds(
    Limits,
    max_live=st.integers(1, 3),
    max_live_per_user=st.integers(1, 2),
    max_turns_at_once=st.integers(1, 4),
    max_starts_at_once=st.integers(1, 2),
    memory_mb=st.just(1000),
    idle_seconds=st.just(IDLE),
    session_ttl_seconds=st.sampled_from([0.0, TTL]),
    prestart=st.booleans(),
    prestart_evicts_after_seconds=st.sampled_from([0.0, 30.0]),
)


class EngineMachine(RuleBasedStateMachine):
    """Sessions of two users, in processes that are drained or killed and started again on one store."""

    @initialize(limits=LIMITS)
    def begin(self, limits: Limits) -> None:
        self.logs = ExitStack()
        self.logs.enter_context(capture_logs())
        self.life = Life(limits)
        for user in ("a", "a", "b"):
            self.life.create(user)

    @rule(requests=st.lists(REQUESTS, min_size=1, max_size=5), pace=PACE)
    def requests_come(self, requests: list[Request], pace: int | None) -> None:
        """Several may begin before the first has done anything; they overlap with all that are under way."""
        self._begin(requests, pace)

    @rule(requests=st.lists(REQUESTS, min_size=1, max_size=3), pace=PACE)
    def more_requests_come(self, requests: list[Request], pace: int | None) -> None:
        """So that they are as frequent as the rest of the world."""
        self._begin(requests, pace)

    @precondition(lambda self: self.life.calm)
    @rule(number=NUMBER, play=st.sampled_from(PLAYS))
    def a_message_comes_alone(self, number: int, play: str) -> None:
        """With nothing else under way it is known who is refused."""
        session = self.life.stored(self.life.session(number))
        if session is not None and session.status is SessionStatus.ACTIVE:
            refused = self.life.must_refuse(session)
            sending = self.life.send(session.id, play)
            self.life.go(None)
            assert isinstance(sending.refused, BusyError) == refused, sending.refused

    @rule(seconds=SECONDS, pace=PACE)
    def time_jumps(self, seconds: float, pace: int | None) -> None:
        """The process only notices afterwards."""
        self.life.clock.advance(seconds)
        self.life.go(pace)

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: float) -> None:
        self.life.glide(seconds)

    @rule(names=st.lists(st.sampled_from(GATES), min_size=1, max_size=3))
    def gates_close(self, names: list[str]) -> None:
        for name in names:
            self.life.gates.close(name)

    @precondition(lambda self: self.life.gates.waiting)
    @rule(number=NUMBER, pace=PACE)
    def one_goes_on(self, number: int, pace: int | None) -> None:
        self.life.gates.let_go(number)
        self.life.go(pace)

    @precondition(lambda self: not self.life.gates.all_open)
    @rule(pace=PACE)
    def gates_open(self, pace: int | None) -> None:
        self.life.gates.open_all()
        self.life.go(pace)

    @rule(fault=st.sampled_from(FAULTS), number=NUMBER)
    def something_breaks(self, fault: str, number: int) -> None:
        self.life.break_something(fault, self.life.session(number))

    @precondition(lambda self: not self.life.process.disk.sound)
    @rule()
    def the_disk_heals(self) -> None:
        self.life.process.disk.heal()

    @rule(megabytes=st.sampled_from([0, 600, 2000]))
    def memory_is_used(self, megabytes: int) -> None:
        self.life.process.memory_mb = megabytes

    @precondition(lambda self: self.life.eventful and self.life.process.stopping is None)
    @rule(seconds=st.sampled_from([0.0, 3.0]), pace=PACE)
    def drain(self, seconds: float, pace: int | None) -> None:
        self.life.process.stop(seconds)
        self.life.go(pace)

    @precondition(lambda self: self.life.process.stopping is not None)
    @rule()
    def start_again(self) -> None:
        """At once: whoever waits for a drain may lose patience."""
        self.life.kill_and_start_again()

    @precondition(lambda self: self.life.eventful)
    @rule()
    def kill_and_start_again(self) -> None:
        self.life.kill_and_start_again()

    @precondition(lambda self: self.life.eventful)
    @rule()
    def calm_down(self) -> None:
        self.life.calm_down()

    @precondition(lambda self: self.life.calm)
    @rule()
    def nobody_comes_for_long(self) -> None:
        """Sessions give their runtimes back, and are closed in the end; but not yet those whose turn, which
        may take an hour, ended meanwhile."""
        engine, turns = self.life.process.engine, self.life.turns
        self.life.glide(IDLE + EVERY_TIMER)
        self.life.check_calm()
        assert engine.stats().live == engine.stats().turns or self.life.turns < turns
        idle = [session.id for session in self._stored() if session.phase is SessionPhase.IDLE]
        self.life.glide(TTL + EVERY_TIMER)
        for session in self._stored():
            if self.life.limits.session_ttl_seconds and session.id in idle:
                assert session.status is SessionStatus.CLOSED

    def _stored(self) -> list[Session]:
        return [*filter(None, map(self.life.stored, self.life.created))]

    # What holds after every step.

    @invariant()
    def clients_get_answers(self) -> None:
        self.life.process.check_answers()

    @invariant()
    def sessions_live_their_time(self) -> None:
        self.life.check_time_to_live()

    @invariant()
    def logs_keep_their_promises(self) -> None:
        for session_id in self.life.created:
            log, session = self.life.log(session_id), self.life.stored(session_id)
            check_log(log)
            if session is None or session_id in self.life.deleted:
                assert (session, log) == (None, [])
            else:
                assert project(session, log).phase is session.phase
                self.life.check_messages(session_id, log)

    @invariant()
    def readers_saw_the_log(self) -> None:
        for reader in self.life.readers:
            if self.life.stored(reader.session) is not None:
                assert reader.seen == self.life.log(reader.session)[reader.after : reader.position]

    @invariant()
    def runtimes_and_turns_are_bounded(self) -> None:
        assert self.life.runtimes.broken == []
        limits, running = self.life.limits, [one.session for one in self.life.sendings if one.runs]
        running += self.life.run_again
        assert len(running) <= min(limits.max_turns_at_once, limits.max_live)
        assert len(set(running)) == len(running), "one session has two turns"
        users = Counter(one.user_id for one in map(self.life.stored, running) if one is not None)
        assert all(turns <= limits.max_live_per_user for turns in users.values())

    def _begin(self, requests: list[Request], pace: int | None) -> None:
        for request in requests:
            request(self.life)
        self.life.go(pace)

    def teardown(self) -> None:
        if not hasattr(self, "life"):
            return
        try:
            self._finish()
        finally:
            self.life.process.kill()
            self.life.loop.close()
            self.logs.close()

    def _finish(self) -> None:
        """Everything ends by itself; the next process finds sessions that answer."""
        self.life.calm_down()
        self.life.stop()
        self.life.kill_and_start_again()
        self._end_turns_that_are_run_again()
        for session in filter(None, map(self.life.stored, self.life.created)):
            assert session.phase is SessionPhase.IDLE
            self.life.open_again(session.id)
            last = self.life.send(session.id, "say")
            self.life.glide(1)
            assert last.end is not None, last.refused
            assert last.end.error is None
        self.logs_keep_their_promises()

    def _end_turns_that_are_run_again(self) -> None:
        """Some of them hang, and those that found no place wait for them."""
        for _ in self.life.created:
            self.life.glide(TAKEOVER)
            for session_id in self.life.run_again:
                self.life.begin("interrupt", self.life.interrupt(session_id))
            self.life.glide(EVERY_TIMER)


EngineMachine.TestCase.settings = settings(
    max_examples=amount(250, 3_000),
    stateful_step_count=amount(40, 80),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestEngineMachine = EngineMachine.TestCase
