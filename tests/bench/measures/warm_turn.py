"""A turn of a live session: what the service adds to the bare SDK, and what a live session costs."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence

from tests.bench.bench import SHORT_TURN, Bench
from tests.bench.figure import Figure, Target, distribution, quantile
from tests.bench.machine import bare_clis, tree, usage
from tests.bench.measures.pool import Pool, live_pool

__all__ = ["measure"]

_TARGETS = (Target("p50", 10), Target("p99", 50))
_WHAT = {"chat": "POST /api/v1/chat", "stream": "POST /api/v1/chat/stream"}
Samples = dict[str, list[tuple[float, float]]]
"""Route -> (bare, service) milliseconds of turns asked beside each other."""


async def measure(bench: Bench) -> list[Figure]:
    async with live_pool(bench, 1) as one:
        alone = await _sampled(one, rounds=bench.count(100, 5), at_once=1)
    size = bench.count(20, 2)
    async with live_pool(bench, size) as pool:
        before = usage(pool.service.pid).cpu_seconds
        in_turn = await _sampled(pool, rounds=bench.count(8, 2), at_once=1)
        service_cpu = usage(pool.service.pid).cpu_seconds - before
        in_pairs = await _sampled(pool, rounds=bench.count(5, 2), at_once=2)
        sizing = _sizing(pool, service_cpu, sum(map(len, in_turn.values())))
    return [
        *_added(alone, "1_session", "1 session"),
        *_added(in_turn, f"{size}_sessions", f"{size} sessions, one turn at a time"),
        *_added(in_pairs, f"{size}_sessions_2_at_once", f"{size} sessions, two turns at a time"),
        *sizing,
    ]


async def _sampled(pool: Pool, *, rounds: int, at_once: int) -> Samples:
    """Bare, service, bare, service: both sides' conversations grow alike."""
    samples: Samples = defaultdict(list)
    routes: dict[str, Callable[[str, str], Awaitable[float]]] = {
        "chat": pool.http.chat,
        "stream": pool.http.stream,
    }
    pairs = list(zip(pool.bare, pool.sessions, strict=True))
    for _ in range(rounds):
        for start in range(0, len(pairs), at_once):
            lane = pairs[start : start + at_once]
            for route, ask in routes.items():
                bare = await asyncio.gather(*(client.turn(SHORT_TURN) for client, _ in lane))
                served = await asyncio.gather(*(ask(session_id, SHORT_TURN) for _, session_id in lane))
                samples[route] += zip(bare, served, strict=True)
    return samples


def _added(samples: Samples, name: str, what: str) -> list[Figure]:
    return [_one_added(pairs, route, name, what) for route, pairs in samples.items()]


def _one_added(pairs: Sequence[tuple[float, float]], route: str, name: str, what: str) -> Figure:
    added = [served - bare for bare, served in pairs]
    bare, served = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    whole = {**distribution(bare), **distribution(served, "service_")}
    return Figure.of(
        added,
        name=f"warm_turn.{route}.{name}",
        what=f"{_WHAT[route]} less a bare turn beside it; {what}",
        unit="ms added",
        targets=_TARGETS,
        compared_with={
            "name": "bare SDK, query to ResultMessage (ms)",
            **whole,
            "ratio": quantile(served, 0.5) / quantile(bare, 0.5),
        },
        details={"p99_less_p99": quantile(served, 0.99) - quantile(bare, 0.99)},
    )


def _sizing(pool: Pool, service_cpu: float, turns: int) -> list[Figure]:
    size = len(pool.sessions)
    served, bare = tree(pool.service.pid), bare_clis()
    return [
        Figure(
            name="live_session.memory",
            what=f"launcher and CLI of one of {size} live sessions, proportional set size",
            unit="MB",
            value=served.pss_mb / size,
            n=size,
            compared_with={"name": "bare CLI", "value": bare.pss_mb / size},
            details={"rss": served.rss_mb / size, "bare_rss": bare.rss_mb / size},
        ),
        Figure(
            name="live_session.service_cpu_per_turn",
            what="CPU time of the service process for one warm turn, all it does besides included",
            unit="ms",
            value=service_cpu * 1000 / turns,
            n=turns,
        ),
    ]
