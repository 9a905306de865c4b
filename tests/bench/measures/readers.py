"""Many idle readers on one service: what they hold of its memory, and whether they hold up the others."""

import asyncio
import json
from collections.abc import Iterable, Mapping

from tests.bench.bench import SHORT_TURN, Bench
from tests.bench.figure import Figure, Target, distribution
from tests.bench.http_side import HttpSide, http_side
from tests.bench.machine import usage
from tests.bench.processes import service
from tests.bench.readers import Readers, following, raise_descriptor_limit

__all__ = ["measure", "take_turns"]

# Longer than the time between two keep-alives: a reader that had one holds what it will hold.
_IDLE_SECONDS = 20.0
_TALKING = 5


async def measure(bench: Bench) -> list[Figure]:
    count, rounds = bench.count(1000, 20), bench.count(30, 2)
    raise_descriptor_limit()
    async with (
        service(bench.folder, bench.model.url, prestart=False) as running,
        http_side(running.url) as http,
    ):
        sessions = [await http.create(f"user-{number}") for number in range(count)]
        talking = dict.fromkeys(sessions[:_TALKING], SHORT_TURN)
        await asyncio.gather(*(http.chat(session_id, SHORT_TURN) for session_id in talking))
        async with following(running.url, [*talking]) as few:
            alone = await take_turns(http, talking, few, rounds)
        before = usage(running.pid)
        async with following(running.url, sessions) as many:
            await asyncio.sleep(bench.count(1, 0) * _IDLE_SECONDS)
            idle = usage(running.pid)
            beside = await take_turns(http, talking, many, rounds)
            after = usage(running.pid)
    added = max(idle.rss_mb, after.rss_mb) - before.rss_mb
    return [
        Figure(
            name="readers.memory",
            what=f"resident memory that {count:,} open readers of as many idle sessions add to the service",
            unit="MB",
            value=added,
            n=count,
            targets=(Target("value", 100),),
            compared_with={"name": "the service without them", "value": before.rss_mb},
            details={
                "kb_a_reader": added * 1000 / count,
                "service_cpu_seconds_connect_and_20s": idle.cpu_seconds - before.cpu_seconds,
            },
        ),
        Figure.of(
            beside,
            name="readers.append",
            what=f"from an append to its arrival at a reader, {_TALKING} sessions talking at once, "
            f"{count:,} readers",
            unit="ms",
            compared_with={"name": f"the same with {_TALKING} readers", **distribution(alone)},
        ),
    ]


async def take_turns(
    http: HttpSide, talking: Mapping[str, str], readers: Readers, rounds: int
) -> list[float]:
    """The delays of all events of turns that sessions take all at once, each with its own message; each
    session has one of the readers. Raises when a reader misses one."""
    delays: list[float] = []
    before = await _last_seqs(http, talking, dict.fromkeys(talking, 0))
    for _ in range(rounds):
        await asyncio.gather(*(http.chat(session_id, text) for session_id, text in talking.items()))
        after = await _last_seqs(http, talking, before)
        await readers.received(sum(after.values()) - sum(before.values()))
        delays += readers.take_delays()
        before = after
    return delays


async def _last_seqs(http: HttpSide, session_ids: Iterable[str], after: Mapping[str, int]) -> dict[str, int]:
    return {
        session_id: await _last_seq(http, session_id, after=after[session_id]) for session_id in session_ids
    }


async def _last_seq(http: HttpSide, session_id: str, *, after: int) -> int:
    page = json.loads(await http.get(f"/api/v1/sessions/{session_id}/events?after={after}&limit=1000"))
    return int(page["data"][-1]["seq"]) if page["data"] else after
