"""What random faults have found, told step by step."""

import asyncio
import random
from collections.abc import Iterator
from dataclasses import replace

import pytest
from structlog.testing import capture_logs
from tests.service.faults.history import Claimed
from tests.service.faults.places import Memory
from tests.service.faults.settled import check, settle
from tests.service.faults.world import World

from claude_agent_http.domain.event import EventType
from claude_agent_http.engine import Limits

LEASE, POLL = 3.0, 1.0
LIMITS = Limits(
    prestart=False,
    interrupt_grace_seconds=0.3,
    stop_seconds=1.0,
    lease_seconds=LEASE,
    poll_seconds=POLL,
)


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Three replicas and one session, which lives nowhere. Its parameter are other limits."""
    dice = random.Random(0)
    made = World(Memory(dice, lags=(0,)), getattr(request, "param", LIMITS), dice)
    with capture_logs():
        try:
            made.until(lambda: all(replica.serves for replica in made.replicas))
            made.create(0, "ann")
            made.until(lambda: bool(made.created))
            yield made
        finally:
            for slot in range(3):
                made.kill(slot)


def test_a_second_deletion_waits_for_what_the_first_one_waits_for(world: World) -> None:
    world.send(1, 0, "hang")
    world.wait(0.1)
    world.deafen(1)  # it finds out when it asks
    world.delete(2, 0)
    world.wait(0.01)
    world.delete(2, 0)
    world.wait(POLL + 1)
    assert world.at(1).agents.alive == []
    settle(world)


def test_nobody_runs_a_session_beside_the_agent_that_a_failed_deletion_waited_for(world: World) -> None:
    world.send(1, 0, "deaf")
    world.wait(0.1)
    world.pause(1)
    world.delete(2, 0)
    world.wait(0.01)
    world.stumble(2, 1)  # it asks whether the agent has ended
    world.wait(POLL)
    assert world.at(1).agents.alive == world.created
    assert [replica.agents.alive for replica in (world.at(0), world.at(2))] == [[], []]
    settle(world)


def test_an_agent_ends_when_an_append_finds_its_session_lost(world: World) -> None:
    world.wake(1, 0)
    world.send(1, 0, "say")
    world.wait(0.1)
    world.pause(1)
    world.send(1, 0, "say")
    world.delete(2, 0)
    world.wait(0.01)
    world.go_on(1)
    world.wait(POLL)
    assert world.at(1).agents.alive == []
    settle(world)


def test_a_mute_agent_ends_when_an_append_finds_its_session_lost(world: World) -> None:
    """It says nothing more that could be refused."""
    world.send(1, 0, "deaf")
    world.run(1, 30)
    assert world.at(1).agents.alive == world.created
    world.pause(1)  # before its first words are stored
    world.deafen(1)
    world.delete(2, 0)
    world.wait(0.01)
    world.go_on(1)
    world.wait(POLL)
    assert world.at(1).agents.alive == []
    settle(world)


def test_a_reader_sees_what_others_wrote_after_its_replica_lost_the_session(world: World) -> None:
    world.send(1, 0, "slow")
    world.follow(1, 0, deltas=False)
    world.wait(0.1)
    world.cut_off(1)
    world.let_all_go()  # its end cannot be stored
    world.wait(1.5 * LEASE)
    world.mend(1)
    world.let_all_go()
    world.wait(LEASE)
    check(world, is_settled=True)


def test_a_turn_that_was_begun_is_not_run_again_because_its_session_was_woken(world: World) -> None:
    world.send(1, 0, "tools")
    world.wait(0.1)
    world.let_go(0)
    world.wait(0.1)
    world.kill(1)
    world.pause(0)
    world.wait(LEASE - 0.5)
    world.pause(2)
    world.wait(0.5)  # the lease is over, and nobody has looked for such turns since
    world.wake(2, 0)
    world.go_on(2)
    world.wait(POLL)
    settle(world)


def test_a_replica_whose_time_was_up_runs_nothing_before_it_has_joined_again(world: World) -> None:
    world.cut_off(1)
    world.wait(1.2 * LEASE)
    world.mend(1)
    message = world.send(1, 0, "say")
    world.wait(2 * LEASE)
    assert message is not None
    assert message.end is None or message.end.error is None
    settle(world)


def test_a_draining_replica_deletes_nothing(world: World) -> None:
    world.send(1, 0, "hang")
    world.wait(0.1)
    world.drain(2, 0)
    world.delete(2, 0)
    world.wait(LEASE)
    assert [session.id for session in world.stored()] == world.created
    settle(world)


def test_a_message_that_was_stored_though_the_answer_was_lost_is_run(world: World) -> None:
    async def cut() -> None:
        if world.history().logs[world.created[0]]:
            world.cut_off(1)

    world.wake(1, 0)
    world.wait(0.1)
    world.at(1).line.lag = cut
    message = world.send(1, 0, "say")
    world.wait(0.1)
    assert message is not None
    assert (message.answered, message.turn) == (True, None)
    world.at(1).line.lag = world.place.lag
    world.mend(1)
    world.wait(2 * POLL)
    assert world.history().logs[world.created[0]][-1].type is EventType.STATUS_IDLE
    settle(world)


def test_a_deletion_waits_for_a_takeover(world: World) -> None:
    go_on, calls = asyncio.Event(), list[str]()

    async def hold() -> None:
        """A takeover that has won the lease, and read the log. Whatever else takes its time."""
        for _ in range(5):
            await asyncio.sleep(0)
        task = asyncio.current_task()
        if task is not None and task.get_name() == "taking over" and len(claims(world)) > 1:
            calls.append("a call's beginning or end")
            if len(calls) == 3:
                await go_on.wait()

    world.send(1, 0, "slow")
    world.wait(0.1)
    world.kill(1)
    world.pause(0)
    world.at(2).line.lag = hold
    assert world.until(lambda: len(claims(world)) > 1)
    world.delete(2, 0)
    world.wait(0.1)
    go_on.set()
    world.wait(0.1)
    assert world.at(2).agents.alive == []
    settle(world)


def test_a_takeover_does_not_outlive_the_stay_of_its_replica(world: World) -> None:
    go_on = asyncio.Event()

    async def hold() -> None:
        """A takeover that has won the lease."""
        task = asyncio.current_task()
        if task is not None and task.get_name() == "taking over" and len(claims(world)) > 1:
            await go_on.wait()

    world.send(1, 0, "slow")
    world.wait(0.1)
    world.kill(1)
    world.pause(0)
    world.at(2).line.lag = hold
    assert world.until(lambda: len(claims(world)) > 1)
    world.pause(2)
    world.wait(1.2 * LEASE)
    world.go_on(2)
    world.wait(0.1)  # it has joined anew
    go_on.set()
    world.wait(0.1)
    assert world.at(2).agents.alive == []
    settle(world)


@pytest.mark.parametrize("world", [replace(LIMITS, max_live=1)], indirect=True)
def test_an_agent_that_nobody_wants_any_more_waits_for_no_place(world: World) -> None:
    claiming = asyncio.Event()

    async def hold() -> None:
        task = asyncio.current_task()
        if task is not None and task.get_name() == f"session {world.created[1]}":
            await claiming.wait()

    world.create(0, "bob")
    world.wait(0.1)
    world.at(2).line.lag = hold
    world.wake(2, 1)
    world.wait(0.1)
    world.send(2, 0, "say")  # to which it gives its place, before it has begun to wait for it
    world.wait(0.1)
    claiming.set()
    world.wait(0.1)
    assert world.at(2).engine.stats().live == 1
    settle(world)


@pytest.mark.parametrize("world", [replace(LIMITS, max_live=1)], indirect=True)
def test_a_message_that_comes_in_from_elsewhere_waits_for_no_place_that_nobody_makes(world: World) -> None:
    world.send(2, 0, "say")
    world.wait(0.1)
    closing = world.at(2).agents.fake.before_close = asyncio.Event()
    world.create(0, "bob")
    world.wait(0.1)
    world.send(2, 1, "say")  # for which the first session gives its place away
    world.wait(0.1)
    late = world.send(0, 0, "say")
    world.wait(POLL)
    closing.set()
    world.at(2).agents.fake.before_close = None
    world.wait(2 * LEASE)
    assert late is not None
    assert late.end is not None
    settle(world)


def claims(world: World) -> list[Claimed]:
    return world.history().of(Claimed, world.created[0])
