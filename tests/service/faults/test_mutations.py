"""Each way to break the service, or what it stands on, is caught by the right invariant."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.service.faults.steps import draw
from tests.service.faults.test_random_faults import STEPS, failure_in_memory
from tests.service.faults.watched import Agents

from claude_agent_http.domain.event import Event, EventType
from claude_agent_http.engine import inbox, takeover
from claude_agent_http.engine.debt import Debt
from claude_agent_http.engine.follow import Follower
from claude_agent_http.engine.takeover import Takeover
from claude_agent_http.ports import ToolGate
from claude_agent_http.store.memory import MemoryEventLog, _State
from claude_agent_http.store.memory_leases import MemoryLeases

LIVES = 300
Patch = Callable[[pytest.MonkeyPatch], None]


def former_owners_may_write(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_State, "check", lambda self, lease: None)


def tools_run_though_their_start_was_refused(patch: pytest.MonkeyPatch) -> None:
    async def may_run(gate: ToolGate, use: str, name: str, given: dict[str, Any]) -> bool:
        await gate(use, name, given)
        return True

    patch.setattr(Agents, "may_run", staticmethod(may_run))


def any_cut_turn_is_run_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Takeover, "_may_run", lambda self, turn: True)


def turns_are_run_again_without_a_word(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Takeover, "_again", lambda self, cut: [])


def nobody_takes_over(patch: pytest.MonkeyPatch) -> None:
    async def sweep(self: Takeover) -> int:
        return 0

    patch.setattr(Takeover, "sweep", sweep)


def followers_pass_over_gaps(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Follower, "_skips", lambda self, item: False)


def sessions_are_taken_from_living_replicas(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MemoryLeases, "_lives", lambda self, replica_id: False)


def launchers_let_agents_live(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Agents, "_is_over", False)


def deletions_wait_for_nobody(patch: pytest.MonkeyPatch) -> None:
    async def is_alone(self: MemoryLeases, lease: object) -> bool:
        return True

    patch.setattr(MemoryLeases, "is_alone", is_alone)


def messages_come_in_while_a_turn_runs(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MemoryEventLog, "_runs_another", lambda self, session_id, opening: False)


def the_store_forgets_what_it_acknowledged(patch: pytest.MonkeyPatch) -> None:
    append = MemoryEventLog.append

    async def forget(self: MemoryEventLog, session_id: str, events: Any, **more: Any) -> list[Event]:
        stored = await append(self, session_id, events, **more)
        if any(event.type is EventType.AGENT_MESSAGE for event in stored):
            log = self._state.events[session_id]
            log[-1] = replace(log[-1], id="another")
        return stored

    patch.setattr(MemoryEventLog, "append", forget)


def the_store_leaves_gaps(patch: pytest.MonkeyPatch) -> None:
    append = MemoryEventLog._append

    def skip(self: MemoryEventLog, session_id: str, new: Any) -> Event:
        event = append(self, session_id, new)
        if event.type is EventType.STATUS_IDLE:
            session = self._state.sessions[session_id]
            self._state.sessions[session_id] = replace(session, last_seq=session.last_seq + 1)
        return event

    patch.setattr(MemoryEventLog, "_append", skip)


def what_is_owed_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    async def settle(self: Debt) -> None:
        owed, self._events = self._events, []
        if owed and owed[-1].type is not EventType.STATUS_IDLE:
            await self._journal.append(owed)

    patch.setattr(Debt, "settle", settle)


def sessions_vanish(patch: pytest.MonkeyPatch) -> None:
    release = MemoryLeases.release

    async def lose(self: MemoryLeases, lease: Any) -> None:
        await release(self, lease)
        self._sessions.pop(lease.session_id, None)

    patch.setattr(MemoryLeases, "release", lose)


def turns_run_elsewhere_know_no_time(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(inbox, "timeout_of", lambda data, most: most)
    patch.setattr(takeover, "timeout_of", lambda data, most: most)


MUTATIONS: tuple[tuple[Patch, str], ...] = (
    (former_owners_may_write, "former_owners_write_nothing"),
    (tools_run_though_their_start_was_refused, "tools_run_under_the_lease"),
    (any_cut_turn_is_run_again, "only_turns_without_tools_are_run_again"),
    (turns_are_run_again_without_a_word, "a_turn_is_taken_up_openly"),
    (nobody_takes_over, "each_turn_ends_once"),
    (followers_pass_over_gaps, "readers_see_the_log"),
    (sessions_are_taken_from_living_replicas, "one_owner_an_epoch"),
    (launchers_let_agents_live, "one_agent_a_session"),
    (deletions_wait_for_nobody, "what_is_deleted_is_gone"),
    (messages_come_in_while_a_turn_runs, "one_turn_at_a_time"),
    (the_store_forgets_what_it_acknowledged, "no_acknowledgement_is_lost"),
    (the_store_leaves_gaps, "seqs_are_dense"),
    (what_is_owed_is_forgotten, "who_waits_is_told_the_truth"),
    (sessions_vanish, "what_is_deleted_is_gone"),
    (turns_run_elsewhere_know_no_time, "turns_end_in_time"),
)


@pytest.mark.parametrize(("mutation", "invariant"), MUTATIONS, ids=[patch.__name__ for patch, _ in MUTATIONS])
def test_it_is_caught(mutation: Patch, invariant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutation(monkeypatch)
    failures = (failure_in_memory(seed, draw(random.Random(seed), STEPS)) for seed in range(LIVES))
    assert any(f"{invariant}:" in failure for failure in failures if failure is not None)
