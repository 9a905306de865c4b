"""Reading from a database of many stored sessions."""

import asyncio
import json
import random
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.bench.bench import Bench
from tests.bench.figure import Figure, Target
from tests.bench.http_side import HttpSide, http_side
from tests.bench.processes import service

from claude_agent_http.domain import vocabulary
from claude_agent_http.domain.session import Session
from claude_agent_http.ports import Store
from claude_agent_http.store import sqlite_store
from claude_agent_http.system import RandomIds, SystemClock

__all__ = ["measure"]

_EVENTS = 100
_AT_ONCE = 500
_WHAT = {
    "list_of_user": "GET /sessions?user_id=, a user with a tenth of all",
    "list_all": "GET /sessions, all of them",
    "list_1000": "GET /sessions?limit=1000, the newest of all",
    "read": "GET /sessions/{id}",
    "read_events": "GET /sessions/{id}/events, 100 of them",
}


async def measure(bench: Bench) -> list[Figure]:
    stored, asked = bench.count(10_000, 200), bench.count(300, 10)
    path = bench.folder / "sessions.db"
    talked = await _fill(path, stored)
    async with (
        service(bench.folder, bench.model.url, session_sqlite_path=path, session_ttl=0) as running,
        http_side(running.url) as http,
    ):
        samples = await _sampled(http, talked, asked)
    return [_figure(name, times, stored) for name, times in samples.items()]


async def _sampled(http: HttpSide, talked: list[str], asked: int) -> dict[str, list[float]]:
    samples: dict[str, list[float]] = defaultdict(list)
    paths: dict[str, Callable[[str], str]] = {
        "list_of_user": lambda _: "?user_id=user-0",
        "list_all": lambda _: "",
        "list_1000": lambda _: "?limit=1000",
        "read": lambda session_id: f"/{session_id}",
        "read_events": lambda session_id: f"/{session_id}/events",
    }
    for session_id in random.Random(1).choices(talked, k=asked):
        for name, path in paths.items():
            started = time.perf_counter()
            answer = await http.get(f"/api/v1/sessions{path(session_id)}")
            samples[name].append((time.perf_counter() - started) * 1000)
            if not json.loads(answer):
                raise RuntimeError(f"{name} found nothing")
    return samples


def _figure(name: str, times: list[float], stored: int) -> Figure:
    return Figure.of(
        times,
        name=f"stored.{name}",
        what=f"{_WHAT[name]}; {stored:,} sessions stored",
        unit="ms",
        targets=(Target("p99", 25),),
    )


async def _fill(path: Path, count: int) -> list[str]:
    """Ten users share the sessions; the ids of those that were talked to, one in 50, spread over all ages."""
    store, ids = sqlite_store(path, SystemClock()), RandomIds()
    await store.open()
    try:
        sessions = [_session(ids.session_id(), number, count) for number in range(count)]
        talked = sessions[::50]
        for start in range(0, count, _AT_ONCE):
            await asyncio.gather(*map(store.sessions.create, sessions[start : start + _AT_ONCE]))
        await asyncio.gather(*(_talk(store, ids, session.id) for session in talked))
    finally:
        await store.close()
    return [session.id for session in talked]


def _session(session_id: str, number: int, count: int) -> Session:
    at = datetime.now(UTC) - timedelta(seconds=count - number)
    user = f"user-{number % 10}"
    return Session(session_id, user, None, f"/users/{user}", at, at, "digest", metadata={"number": number})


async def _talk(store: Store, ids: RandomIds, session_id: str) -> None:
    messages = [vocabulary.user_message(ids.event_id(), f"message {number}") for number in range(_EVENTS)]
    await store.events.append(session_id, messages)
