"""Random faults over three replicas, in memory and on Postgres: one list of invariants holds.

A failure prints its seed, `--hypothesis-seed`, from which the seeds of a run are counted, and the steps.
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import pytest
from structlog.testing import capture_logs
from tests.proof import amount
from tests.service.faults.places import Memory, Postgres
from tests.service.faults.settled import leave, settle
from tests.service.faults.steps import Step, draw, smallest, told
from tests.service.faults.world import Place, World

from claude_agent_http.engine import Limits

STEPS = 60
LIVES_A_TEST = amount(75, 3_000)
IN_MEMORY = range(4)
ON_POSTGRES = amount(2, 20)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", IN_MEMORY)
def test_in_memory(part: int, first_seed: int, proven: Counter[str]) -> None:
    """In still time a life is the same in every run, so the fewest steps that fail are printed."""
    first = first_seed + part * LIVES_A_TEST
    for seed in range(first, first + LIVES_A_TEST):
        steps = draw(random.Random(seed), STEPS)
        if (failure := failure_in_memory(seed, steps)) is not None:
            steps = smallest(steps, partial(failure_in_memory, seed))
            pytest.fail(report(seed, steps, failure_in_memory(seed, steps) or failure))
        proven["steps of replicas in memory, with faults"] += len(steps)


@pytest.mark.timeout(900)
@pytest.mark.tier("postgres")
def test_on_postgres(postgres_dsn: str, first_seed: int, proven: Counter[str]) -> None:
    place = Postgres(postgres_dsn)
    try:
        for seed in range(first_seed, first_seed + ON_POSTGRES):
            dice = random.Random(seed)
            steps = draw(dice, STEPS)
            failure = failure_of(place, limits(dice, lease=0.7, poll=0.2), dice, steps)
            assert failure is None, report(seed, steps, failure)
            proven["steps of replicas on Postgres, with faults"] += len(steps)
    finally:
        place.close()


def failure_in_memory(seed: int, steps: Sequence[Step], make: Callable[..., World] = World) -> str | None:
    dice = random.Random(seed)
    return failure_of(Memory(dice), limits(dice), dice, steps, make)


def failure_of(
    place: Place,
    limits: Limits,
    dice: random.Random,
    steps: Sequence[Step],
    make: Callable[..., World] = World,
) -> str | None:
    """What was wrong about a life of these steps; None when everything held."""
    with capture_logs():
        world = make(place, limits, dice)
        try:
            world.until(lambda: all(replica.serves for replica in world.replicas))
            for step in steps:
                step(world)
            settle(world)
            leave(world)
        except AssertionError as error:
            return str(error)
        finally:
            for slot in range(len(world.replicas)):
                world.kill(slot)
    return None


def limits(dice: random.Random, lease: float = 3.0, poll: float = 1.0) -> Limits:
    return Limits(
        max_live=dice.choice([2, 20]),
        max_live_per_user=dice.choice([1, 20]),
        max_turns_at_once=dice.choice([2, 20]),
        idle_seconds=dice.choice([5.0, 600.0]),
        session_ttl_seconds=dice.choice([0.0, 0.0, 20.0]),
        interrupt_grace_seconds=0.3,
        stop_seconds=1.0,
        lease_seconds=lease,
        poll_seconds=poll,
        prestart=dice.choice([True, False]),
    )


def report(seed: int, steps: Sequence[Step], failure: str | None) -> str:
    return f"seed {seed}, steps:\n{told(steps)}\n{failure}"
