"""Many sessions that take turns on few live CLIs, against as many bare clients, which are always live."""

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from random import Random

import aiohttp
from tests.bench.bench import SHORT_TURN, Bench
from tests.bench.figure import Figure, Target, distribution
from tests.bench.http_side import HttpSide, http_side
from tests.bench.processes import service
from tests.bench.sdk_side import sdk_side

__all__ = ["measure"]

_TOKENS = 100
_BARE_TURNS = 3
_TURNS = 2


@dataclass(frozen=True, slots=True)
class _Plan:
    """`sessions` on `places` live CLIs; a turn takes `turn_seconds` of the model's time."""

    places: int
    sessions: int
    turn_seconds: float

    @property
    def message(self) -> str:
        pause_ms = self.turn_seconds * 1000 / _TOKENS
        return json.dumps({"script": [{"tokens": _TOKENS, "delay_ms": pause_ms}]})

    @property
    def think_seconds(self) -> float:
        """Between a session's turns: long enough for others to take its place, as at a reader's pace."""
        return 2 * self.turn_seconds


@dataclass(slots=True)
class _Seen:
    """When each turn ended (seconds of the performance counter), how long after it was first asked for
    (milliseconds), how often there was no place for one, and what should not have been."""

    ends: list[float] = field(default_factory=list)
    answered_after: list[float] = field(default_factory=list)
    refused: int = 0
    errors: list[str] = field(default_factory=list)


async def measure(bench: Bench) -> list[Figure]:
    plan = _Plan(bench.count(10, 2), bench.count(100, 3), bench.count(10, 1))
    always_live = await _always_live(bench, plan)
    seen = _Seen()
    async with (
        service(
            bench.folder,
            bench.model.url,
            prestart=False,
            max_sessions=plan.places,
            max_sessions_per_user=plan.places,
            max_concurrent=plan.places,
        ) as running,
        http_side(running.url) as http,
    ):
        sessions = [await http.create(f"user-{number}") for number in range(plan.sessions)]
        started = time.perf_counter()
        await asyncio.gather(*(_client(http, one, plan, seen, Random(one)) for one in sessions))
        starts = running.logged("runtime started", "seconds")
    return _figures(plan, seen, _throughput(plan, seen, started), always_live, starts)


async def _always_live(bench: Bench, plan: _Plan) -> float:
    """Turns a second of bare clients, one a place, each connected and its first turn behind it."""
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(sdk_side(bench.folder, bench.model.url))
            for _ in range(plan.places)
        ]
        for client in clients:
            await client.turn(SHORT_TURN)
        started = time.perf_counter()
        for _ in range(_BARE_TURNS):
            await asyncio.gather(*(client.turn(plan.message) for client in clients))
        return plan.places * _BARE_TURNS / (time.perf_counter() - started)


async def _client(http: HttpSide, session_id: str, plan: _Plan, seen: _Seen, random: Random) -> None:
    """Clients come at any time, not all at the same moment, and do as the service tells them."""
    await asyncio.sleep(random.uniform(0, plan.turn_seconds))
    for number in range(_TURNS):
        await asyncio.sleep(plan.think_seconds if number else 0)
        asked = time.perf_counter()
        try:
            while (wait := await http.ask(session_id, plan.message)) is not None:
                seen.refused += 1
                await asyncio.sleep(wait)
        except aiohttp.ClientError as error:
            seen.errors.append(str(error))
        else:
            seen.ends.append(time.perf_counter())
            seen.answered_after.append((seen.ends[-1] - asked) * 1000)


def _throughput(plan: _Plan, seen: _Seen, started: float) -> float:
    """Turns a second, less the last ones, at whose time there were fewer left than there are places."""
    ended = sorted(seen.ends)[: -plan.places]
    if not ended:
        raise RuntimeError(f"no turns to count: {seen.errors[:3]}")
    return len(ended) / (ended[-1] - started)


def _figures(
    plan: _Plan, seen: _Seen, throughput: float, always_live: float, starts: Sequence[float]
) -> list[Figure]:
    what = (
        f"{plan.sessions} sessions with {_TURNS} turns of {plan.turn_seconds:g} s each on {plan.places} CLIs"
    )
    return [
        Figure(
            name="many_on_few.throughput",
            what=f"{what}: turns a second, over those of {plan.places} always live",
            unit="x",
            value=throughput / always_live,
            n=len(seen.ends),
            targets=(Target("value", 0.8, at_least=True),),
            compared_with={
                "name": f"{plan.places} bare clients, always live (turns/s)",
                "value": always_live,
                "service": throughput,
            },
            details={
                "start_seconds": distribution(starts),
                "starts": len(starts),
                "refused_with_429": seen.refused,
                "answered_after_ms": distribution(seen.answered_after),
            },
        ),
        Figure(
            name="many_on_few.errors",
            what=f"{what}: answers other than the turn's or 429 with Retry-After",
            unit="errors",
            value=len(seen.errors),
            n=len(seen.ends) + len(seen.errors),
            targets=(Target("value", 0),),
            details={"first": seen.errors[:3]},
        ),
    ]
