"""Each attack is stopped by what the documentation says; and succeeds without, so that it is no wonder."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
from tests.adversarial.attacks import ATTACKS, Attack
from tests.adversarial.range import KEY, Outcome, Range, open_range
from tests.adversarial.ungated import said_without_gateway

from claude_agent_http.demo.app import create_demo_model
from claude_agent_http.system.loopback import LoopbackServer

pytestmark = [pytest.mark.tier("cli", "landlock"), pytest.mark.timeout(300)]
_SLOWEST_SECONDS = 5.0


@dataclass(slots=True)
class Meanwhile:
    """How another user is served while the attacks run."""

    turns: int = 0
    slowest_request: float = 0.0
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Jailed:
    outcomes: dict[str, Outcome]
    meanwhile: Meanwhile


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def jailed() -> Jailed:
    async with open_range("required") as field, _another_user(field) as meanwhile:
        return Jailed(await field.run(ATTACKS, controls=False), meanwhile)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def free(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    async with open_range("off") as field:
        outcomes = await field.run(ATTACKS, controls=True)
    return outcomes | await _without_gateway(tmp_path_factory.mktemp("ungated"))


async def _without_gateway(folder: Path) -> dict[str, Outcome]:
    attacks = {attack.name: attack for attack in ATTACKS if attack.without == "gateway"}
    async with LoopbackServer(create_demo_model(token_seconds=0), grace_seconds=0) as model:
        said = await said_without_gateway(attacks.values(), folder, model.url, KEY)
    return {
        name: Outcome(re.search(attacks[name].proof, text) is not None, text) for name, text in said.items()
    }


@asynccontextmanager
async def _another_user(field: Range) -> AsyncIterator[Meanwhile]:
    """Bob talks, and looks at his session."""
    meanwhile = Meanwhile()
    bob = str(field.names["bob"])

    async def talks() -> None:
        while True:
            answer = await field.client.chat(bob, "hello")
            meanwhile.turns += 1
            if answer.status_code != 200:
                meanwhile.failures.append(answer.text)
            await asyncio.sleep(0.5)  # as people do

    async def looks() -> None:
        while True:
            began = time.monotonic()
            answer = await field.client.http.get(f"/api/v1/sessions/{bob}")
            meanwhile.slowest_request = max(meanwhile.slowest_request, time.monotonic() - began)
            if answer.status_code != 200:
                meanwhile.failures.append(answer.text)
            await asyncio.sleep(0.1)  # often enough for what lasts

    tasks = [asyncio.create_task(talks()), asyncio.create_task(looks())]
    try:
        yield meanwhile
    finally:
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                meanwhile.failures.append(repr(ended))


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
@pytest.mark.asyncio(loop_scope="module")
async def test_it_is_stopped(jailed: Jailed, free: dict[str, Outcome], attack: Attack) -> None:
    without = free[attack.name]
    assert without.succeeded, f"it should succeed without its protection, but: {without.said}"
    outcome = jailed.outcomes[attack.name]
    assert outcome.succeeded == bool(attack.remains), outcome.said


@pytest.mark.asyncio(loop_scope="module")
async def test_others_are_served_meanwhile(jailed: Jailed) -> None:
    meanwhile = jailed.meanwhile
    assert meanwhile.failures == []
    assert meanwhile.turns > 1
    assert meanwhile.slowest_request < _SLOWEST_SECONDS
