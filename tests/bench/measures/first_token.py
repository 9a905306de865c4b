"""How long the model's first token is under way: the model writes the moment of its sending into it."""

import json

from tests.bench.bench import Bench
from tests.bench.figure import Figure, Target, distribution
from tests.bench.measures.pool import live_pool

__all__ = ["measure"]

# The pauses part the first token from what stands before and behind it, as with a real model.
_STAMPED = json.dumps({"script": [{"text": "{{now}} is when this was sent", "first_ms": 20, "delay_ms": 10}]})


async def measure(bench: Bench) -> list[Figure]:
    count = bench.count(150, 5)
    async with live_pool(bench, 1) as pool:
        served, bare = [], []
        for _ in range(count):
            bare.append((await pool.bare[0].timed(_STAMPED)).from_model_ms)
            served.append((await pool.http.timed(pool.sessions[0], _STAMPED)).from_model_ms)
    added = [one - other for one, other in zip(served, bare, strict=True)]
    return [
        Figure.of(
            served,
            name="first_token",
            what="from the model's sending of its first token to its arrival on /chat/stream",
            unit="ms",
            targets=(Target("p50", 10), Target("p99", 10)),
            compared_with={"name": "bare SDK, to its StreamEvent", **distribution(bare)},
            details=distribution(added, "added_"),
        )
    ]
