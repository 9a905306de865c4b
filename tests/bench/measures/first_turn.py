"""The first turn of a new session, against a bare client that was connected for it."""

import asyncio
import time
from collections import defaultdict

from tests.bench.bench import SHORT_TURN, Bench
from tests.bench.figure import Figure, Target
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
            await _first_tokens(bench, http, samples)
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
            "first_token.after_2s",
            "first token of the first turn, 2 s after its session was created",
            "bare SDK, first token of the first turn 2 s after connect (ms)",
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


async def _first_tokens(bench: Bench, http: HttpSide, samples: Samples) -> None:
    async with sdk_side(bench.folder, bench.model.url) as client:
        await asyncio.sleep(_HEAD_START_SECONDS)
        bare = await client.timed(SHORT_TURN)
    session_id = await http.create("user")
    await asyncio.sleep(_HEAD_START_SECONDS)
    served = await http.timed(session_id, SHORT_TURN)
    await http.delete(session_id)
    samples["bare_first_token.after_2s"].append(bare.first_ms)
    samples["first_token.after_2s"].append(served.first_ms)


def _ratio(samples: Samples, name: str, what: str, beside: str) -> Figure:
    return Figure.ratio(
        samples[name],
        samples[f"bare_{name}"],
        name=f"first_turn.{name}",
        what=what,
        beside=beside,
        targets=_TARGETS,
    )
