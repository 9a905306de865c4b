"""Random faults over three real services with the real CLI: the invariants that hold over fakes hold here."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence

import pytest
from tests.postgres import PostgresServer
from tests.proof import amount
from tests.service.e2e.conftest import Storage
from tests.service.e2e.database_facts import make_role, watch
from tests.service.e2e.fleet import Fleet
from tests.service.e2e.service_process import Services
from tests.service.e2e.test_replicas import Replicas
from tests.service.faults.history import History
from tests.service.faults.invariants import broken, unjudged

pytestmark = [
    pytest.mark.tier("cli", "linux"),
    pytest.mark.timeout(600),
    pytest.mark.parametrize(
        "storage", [pytest.param("postgresql", marks=pytest.mark.tier("postgres"))], indirect=True
    ),
]

# From 2 on, for in that life a few steps are already of eleven of the twelve kinds.
LIVES = range(2, 2 + amount(1, 4))
STEPS = amount(20, 40)
SESSIONS = 3
_KINDS = {
    "send": 16,
    "read": 3,
    "move": 3,
    "interrupt": 2,
    "create": 1,
    "delete": 1,
    "kill": 2,
    "terminate": 1,
    "pause": 2,
    "go_on": 3,
    "start_again": 5,
    "drop_connections": 1,
}
_PAUSES = (0.0, 0.05, 0.2, 0.5, 1.0)  # seconds; some together are longer than a lease


def draw(dice: random.Random) -> list[tuple[str, float]]:
    """What happens, and how long nothing does afterwards."""
    kinds = dice.choices(list(_KINDS), list(_KINDS.values()), k=STEPS)
    return [(kind, dice.choice(_PAUSES)) for kind in kinds]


@pytest.mark.parametrize("life", LIVES)
async def test_the_invariants_hold(
    services: Services,
    storage: Storage,
    postgres_server: PostgresServer,
    first_seed: int,
    proven: Counter[str],
    life: int,
) -> None:
    seed = first_seed + life
    dice = random.Random(seed)
    steps = draw(dice)
    replicas = Replicas(services, storage)
    database = postgres_server.url(storage.env["CLAUDE_AGENT_SESSION_PG_DATABASE"])
    for number in range(3):
        await make_role(database, role := f"replica_{number}")
        await asyncio.to_thread(
            replicas.start, CLAUDE_AGENT_DRAIN_SECONDS="3", CLAUDE_AGENT_SESSION_PG_USER=role
        )
    await watch(database)
    fleet = Fleet(replicas.all, database, dice)
    try:
        history = await lived(fleet, steps)
    finally:
        await fleet.close()
    complaints = broken(history)
    assert not complaints, "\n".join([f"seed {seed}, steps {steps}", *complaints])
    assert unjudged(history) == []
    proven["steps of real replicas, with faults"] += len(steps)
    proven["messages that real replicas acknowledged, with faults"] += sum(
        sent.stored is True for sent in fleet.sent
    )


async def lived(fleet: Fleet, steps: Sequence[tuple[str, float]]) -> History:
    for _ in range(SESSIONS):
        await fleet.create()
    for kind, seconds in steps:
        await getattr(fleet, kind)()
        await asyncio.sleep(seconds)  # what happens meanwhile is the point
    return await fleet.settle()
