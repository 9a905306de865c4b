"""From an append on one replica to a reader of another one, both on one PostgreSQL, all sessions talking at
once at a steady pace. The replica that appends has a runtime that costs nothing."""

import json
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

from tests.bench.bench import Bench
from tests.bench.figure import Figure, Finding, NotMeasured, Target, distribution
from tests.bench.http_side import HttpSide, http_side
from tests.bench.machine import usage
from tests.bench.measures.readers import take_turns
from tests.bench.postgres_side import postgres, why_no_postgres
from tests.bench.processes import Running, service
from tests.bench.readers import following, raise_descriptor_limit
from tests.postgres import PostgresServer

__all__ = ["measure"]

_NAME = "cross_replica.append"
_WHAT = "from an append on one replica to its arrival at a reader of another one, same PostgreSQL"
_BLOCKS = 3
_PACED = str(Path(__file__).parents[1] / "paced_service.py")
_EVERY_SECONDS = 1.0
_EVENTS_A_MESSAGE = 3
_SIDES = ("writer", "reader")


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
        program=(_PACED,),
        max_concurrent=200,
        session_storage="postgresql",
        session_pg_host=server.socket_folder,
        session_pg_database="postgres",
        session_pg_user="postgres",
        user_base_dir=bench.folder / "users",
        prestart=False,
    )


async def _figure(bench: Bench, writer: Running, reader: Running) -> Figure:
    """Both ways in blocks by turns, so that a noisy machine disturbs both."""
    count, messages = bench.count(100, 10), bench.count(10, 2)
    direct: list[float] = []
    across: list[float] = []
    spent = [0.0, 0.0]
    async with http_side(writer.url) as http:
        sessions = [await http.create(f"user-{number}") for number in range(count)]
        talking = {one: _message(number / count, messages) for number, one in enumerate(sessions)}
        for _ in range(_BLOCKS):
            direct += await _block(http, writer.url, talking)
            before = _cpu_seconds(writer, reader)
            across += await _block(http, reader.url, talking)
            after = _cpu_seconds(writer, reader)
            spent = [sum(each) for each in zip(spent, after, (-one for one in before), strict=True)]
    return Figure.of(
        across,
        name=_NAME,
        what=f"{_WHAT}; {count} streams of as many sessions that all talk at once, "
        f"{count * _EVENTS_A_MESSAGE / _EVERY_SECONDS:g} events/s in all",
        unit="ms",
        targets=(Target("p99", 50),),
        compared_with={"name": "readers of the replica that appends", **distribution(direct)},
        details={
            f"{side}_cpu_ms_an_event": seconds * 1e3 / len(across)
            for side, seconds in zip(_SIDES, spent, strict=True)
        },
    )


def _cpu_seconds(*replicas: Running) -> list[float]:
    return [usage(replica.pid).cpu_seconds for replica in replicas]


def _message(part: float, messages: int) -> str:
    """The sessions begin at even distances, each in its part of the time between two messages."""
    return json.dumps({"first": part * _EVERY_SECONDS, "every": _EVERY_SECONDS, "messages": messages})


async def _block(http: HttpSide, url: str, talking: Mapping[str, str]) -> list[float]:
    """The delays at a reader of every session, which all read at `url`."""
    async with following(url, [*talking]) as readers:
        return await take_turns(http, talking, readers, 1)
