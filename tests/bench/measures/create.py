"""Creating a session: one insert, and no process started."""

import time
from collections.abc import Awaitable

from tests.bench.bench import Bench
from tests.bench.figure import Figure, Target, distribution
from tests.bench.http_side import http_side
from tests.bench.processes import service

__all__ = ["measure"]


async def measure(bench: Bench) -> list[Figure]:
    count = bench.count(1000, 30)
    async with (
        service(bench.folder, bench.model.url, prestart=False) as running,
        http_side(running.url) as http,
    ):
        created, probed = [], []
        for number in range(count):
            created.append(await _timed(http.create(f"user-{number}")))
            probed.append(await _timed(http.get("/livez")))
    return [
        Figure.of(
            created,
            name="create_session",
            what="POST /api/v1/sessions of a new user, SQLite",
            unit="ms",
            targets=(Target("p50", 5), Target("p99", 25)),
            compared_with={"name": "GET /livez, which does nothing", **distribution(probed)},
        ),
        Figure.of(
            probed,
            name="http_floor",
            what="GET /livez: what HTTP itself costs client and service in every figure here",
            unit="ms",
        ),
    ]


async def _timed(call: Awaitable[object]) -> float:
    started = time.perf_counter()
    await call
    return (time.perf_counter() - started) * 1000
