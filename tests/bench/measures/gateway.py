"""What the gateway adds between an agent and its model, asked as a CLI asks, beside direct calls."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from statistics import median

import aiohttp
import psutil
from tests.bench.bench import SHORT_TURN, Bench
from tests.bench.figure import Figure, Target, distribution
from tests.bench.http_side import http_side
from tests.bench.processes import Running, service

__all__ = ["measure"]

_SESSIONS = 5
_STREAMS = 100
_TOKENS_A_SECOND = 20
# About what a CLI sends with its tools and the first messages.
_PADDING = "x" * 100_000
_SHORT = json.dumps({"script": [{"text": "one two"}]})
_DELTA = b'"text_delta"'
_STAMP = re.compile(rb"\d{15,}")


@dataclass(frozen=True, slots=True)
class _Way:
    """An address of the Messages API, and the key that it takes."""

    url: str
    key: str


async def measure(bench: Bench) -> list[Figure]:
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(service(bench.folder, bench.model.url))
        ways = await stack.enter_async_context(_ways(running))
        connector = aiohttp.TCPConnector(limit=0)
        client = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        direct = _Way(bench.model.url, "demo")
        return [
            await _first_token(client, direct, ways[0], bench.count(200, 5)),
            await _paced(client, direct, ways, bench.count(100, 5), bench.count(3, 1)),
        ]


async def _first_token(client: aiohttp.ClientSession, direct: _Way, through: _Way, count: int) -> Figure:
    bare: list[float] = []
    served: list[float] = []
    for number in range(count + 2):
        # Taken in turn, so that neither always comes first.
        for way, taken in ((direct, bare), (through, served))[:: 1 if number % 2 else -1]:
            asked = time.time_ns()
            first, *_ = await _times(client, way, _SHORT)
            taken.append((first - asked) / 1e6)
    added = [one - other for one, other in zip(served[2:], bare[2:], strict=True)]
    return Figure.of(
        added,
        name="gateway_first_token",
        what="what the gateway adds from a request of 100 KB to its first token; pairs, one at a time",
        unit="ms",
        targets=(Target("p50", 5),),
        compared_with={"name": "direct", **distribution(bare[2:]), **distribution(served[2:], "gateway_")},
    )


async def _paced(
    client: aiohttp.ClientSession, direct: _Way, through: Sequence[_Way], tokens: int, rounds: int
) -> Figure:
    """Each token says when it was sent. A stream that falls behind gets its last token later and later; one
    that keeps pace gets it before the next would have been sent."""
    pause = 1000 / _TOKENS_A_SECOND
    message = json.dumps({"script": [{"text": " ".join(["{{now}}"] * tokens), "delay_ms": pause}]})
    bare: list[_Stream] = []
    served: list[_Stream] = []
    for _ in range(rounds):
        bare += await _at_once(client, [direct], message)
        served += await _at_once(client, through, message)
    late, bare_late = [one.late_ms for one in served], [one.late_ms for one in bare]
    seconds, bare_seconds = [one.seconds for one in served], [one.seconds for one in bare]
    return Figure.of(
        late,
        name="gateway_paced_streams",
        what=f"how long the last token is under way, of {_STREAMS} streams at once at {_TOKENS_A_SECOND}/s",
        unit="ms",
        targets=(Target("p99", pause),),
        compared_with={
            "name": "direct",
            **distribution(bare_late),
            "whole_stream_s": median(bare_seconds),
            "gateway_whole_stream_s": median(seconds),
        },
    )


async def _at_once(client: aiohttp.ClientSession, ways: Sequence[_Way], message: str) -> list["_Stream"]:
    asking = [_stream(client, ways[number % len(ways)], message) for number in range(_STREAMS)]
    return await asyncio.gather(*asking)


@dataclass(frozen=True, slots=True)
class _Stream:
    """`seconds` from its first to its last token, `late_ms` from the last one's sending to its arrival."""

    seconds: float
    late_ms: float


async def _stream(client: aiohttp.ClientSession, way: _Way, message: str) -> _Stream:
    first, last, text = await _times(client, way, message)
    sent = int(_STAMP.findall(text)[-1])
    return _Stream((last - first) / 1e9, (last - sent) / 1e6)


async def _times(client: aiohttp.ClientSession, way: _Way, message: str) -> tuple[int, int, bytes]:
    """When the first and the last piece of text came, by the host's clock in nanoseconds, and the last."""
    body = {
        "model": "claude-opus-5-5",
        "max_tokens": 1000,
        "stream": True,
        "system": _PADDING,
        "messages": [{"role": "user", "content": message}],
    }
    first = last = 0
    text = b""
    headers = {"x-api-key": way.key}
    async with client.post(f"{way.url}/v1/messages?beta=true", json=body, headers=headers) as answer:
        answer.raise_for_status()
        async for chunk in answer.content.iter_any():
            if _DELTA in chunk:
                last, text = time.time_ns(), chunk
                first = first or last
    return first, last, text


@asynccontextmanager
async def _ways(running: Running) -> AsyncIterator[list[_Way]]:
    """Of as many agents, because one may have so many requests at once only."""
    async with http_side(running.url) as http:
        for number in range(_SESSIONS):
            await http.chat(await http.create(f"user-{number}"), SHORT_TURN)
        found = {_way(one) for one in psutil.Process(running.pid).children(recursive=True)}
        yield [way for way in found if way is not None]


def _way(process: psutil.Process) -> _Way | None:
    try:
        given = process.environ()
    except psutil.Error:
        return None
    key = given.get("ANTHROPIC_API_KEY", "")
    return _Way(given["ANTHROPIC_BASE_URL"], key) if key.startswith("gw-") else None
