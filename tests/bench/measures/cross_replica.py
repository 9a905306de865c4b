"""From an append on one replica to a reader of another one, both on one PostgreSQL."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from tests.bench.bench import SHORT_TURN, Bench
from tests.bench.figure import Figure, Finding, NotMeasured, Target, distribution
from tests.bench.http_side import HttpSide, http_side
from tests.bench.measures.readers import take_turns
from tests.bench.postgres_side import postgres, why_no_postgres
from tests.bench.processes import Running, service
from tests.bench.readers import following, raise_descriptor_limit
from tests.postgres import PostgresServer

__all__ = ["measure"]

_NAME = "cross_replica.append"
_WHAT = "from an append on one replica to its arrival at a reader of another one, same PostgreSQL"
_BLOCKS = 3


async def measure(bench: Bench) -> list[Finding]:
    if reason := why_no_postgres():
        return [NotMeasured(_NAME, _WHAT, reason)]
    raise_descriptor_limit()
    async with postgres() as server, AsyncExitStack() as stack:
        writer = await stack.enter_async_context(_replica(bench, server, "one"))
        reader = await stack.enter_async_context(_replica(bench, server, "two"))
        return [await _figure(bench, writer, reader)]


def _replica(bench: Bench, server: PostgresServer, name: str) -> AbstractAsyncContextManager[Running]:
    """A service process with a folder of its own, and the workspaces of all."""
    return service(
        bench.folder / name,
        bench.model.url,
        session_storage="postgresql",
        session_pg_host=server.socket_folder,
        session_pg_database="postgres",
        session_pg_user="postgres",
        user_base_dir=bench.folder / "users",
        prestart=False,
    )


async def _figure(bench: Bench, writer: Running, reader: Running) -> Figure:
    """Both ways in blocks by turns, so that a noisy machine disturbs both."""
    each, rounds = bench.count(10, 2), bench.count(4, 1)
    direct: list[float] = []
    across: list[float] = []
    async with http_side(writer.url) as http:
        sessions = [await http.create(f"user-{number}") for number in range(bench.count(10, 2))]
        await asyncio.gather(*(http.chat(session_id, SHORT_TURN) for session_id in sessions))
        for _ in range(_BLOCKS):
            direct += await _block(http, writer.url, sessions, each, rounds)
            across += await _block(http, reader.url, sessions, each, rounds)
    streams = len(sessions) * each
    return Figure.of(
        across,
        name=_NAME,
        what=f"{_WHAT}; {streams} streams of {len(sessions)} sessions",
        unit="ms",
        targets=(Target("p99", 50),),
        compared_with={"name": "readers of the replica that appends", **distribution(direct)},
    )


async def _block(http: HttpSide, url: str, sessions: Sequence[str], each: int, rounds: int) -> list[float]:
    """The delays at `each` readers of every session, which all read at `url`."""
    async with following(url, [*sessions] * each) as readers:
        return await take_turns(http, sessions, readers, rounds, readers_each=each)
