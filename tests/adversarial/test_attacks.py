"""Each attack is stopped by what the documentation says; and succeeds without, so that it is no wonder."""

import pytest
import pytest_asyncio
from tests.adversarial.attacks import ATTACKS, Attack
from tests.adversarial.range import Outcome, open_range

pytestmark = [pytest.mark.tier("cli", "landlock"), pytest.mark.timeout(300)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def jailed() -> dict[str, Outcome]:
    async with open_range("required") as field:
        return await field.run(ATTACKS, controls=False)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def free() -> dict[str, Outcome]:
    async with open_range("off") as field:
        return await field.run(ATTACKS, controls=True)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
@pytest.mark.asyncio(loop_scope="module")
async def test_it_is_stopped(jailed: dict[str, Outcome], free: dict[str, Outcome], attack: Attack) -> None:
    without = free[attack.name]
    assert without.succeeded, f"it should succeed without its protection, but: {without.said}"
    outcome = jailed[attack.name]
    assert outcome.succeeded == bool(attack.remains), outcome.said
