"""The first turn of a new session, against a bare client that was connected for it."""

import asyncio
import time
from collections import defaultdict
from statistics import median

from tests.bench.bench import SHORT_TURN, Bench
from tests.bench.figure import Figure, Target, distribution, quantile
from tests.bench.http_side import HttpSide, http_side
from tests.bench.processes import service
from tests.bench.sdk_side import sdk_side

__all__ = ["measure"]

_HEAD_START_SECONDS = 2.0
_TARGETS = (Target("value", 1.1),)
Samples = dict[str, list[float]]


async def measure(bench: Bench) -> list[Figure]:
    samples: Samples = defaultdict(list)
    async with (
        service(bench.folder, bench.model.url) as running,
        http_side(running.url) as http,
    ):
        for _ in range(bench.count(12, 1)):
            await _bare(bench, samples, "bare_after_2s", _HEAD_START_SECONDS)
            await _served(http, samples, "after_2s", _HEAD_START_SECONDS)
            await _bare(bench, samples, "bare_at_once", 0)
            await _served(http, samples, "at_once", 0)
    return [
        _ratio(
            samples,
            "after_2s",
            "first turn 2 s after its session was created",
            "bare SDK, first turn 2 s after connect (ms)",
        ),
        _ratio(
            samples,
            "at_once",
            "create and first turn, asked at once",
            "bare SDK, connect and first turn (ms)",
        ),
    ]


async def _bare(bench: Bench, samples: Samples, name: str, wait_seconds: float) -> None:
    async with sdk_side(bench.folder, bench.model.url) as client:
        await asyncio.sleep(wait_seconds)
        turn = await client.turn(SHORT_TURN)
        samples[name].append(turn if wait_seconds else client.connect + turn)


async def _served(http: HttpSide, samples: Samples, name: str, wait_seconds: float) -> None:
    started = time.perf_counter()
    session_id = await http.create("user")
    created = (time.perf_counter() - started) * 1000
    await asyncio.sleep(wait_seconds)
    turn = await http.chat(session_id, SHORT_TURN)
    samples[name].append(turn if wait_seconds else created + turn)
    # Returns when its processes are gone, so that they take nothing from the next one.
    await http.delete(session_id)


def _ratio(samples: Samples, name: str, what: str, beside: str) -> Figure:
    served, bare = samples[name], samples[f"bare_{name}"]
    ratios = [one / other for one, other in zip(served, bare, strict=True)]
    return Figure(
        name=f"first_turn.{name}",
        what=f"{what}, over the bare SDK; ratio of medians",
        unit="x",
        value=median(served) / median(bare),
        n=len(served),
        p50=quantile(ratios, 0.5),
        p99=quantile(ratios, 0.99),
        targets=_TARGETS,
        compared_with={"name": beside, **distribution(bare), **distribution(served, "service_")},
    )
