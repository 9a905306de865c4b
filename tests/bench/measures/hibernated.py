"""What stored sessions cost a service that runs none of them: each has had a turn, and no CLI is alive."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
from tests.bench.bench import SHORT_TURN, Bench
from tests.bench.figure import Figure, Target
from tests.bench.http_side import HttpSide, http_side
from tests.bench.machine import bare_clis, usage
from tests.bench.processes import Running, service
from tests.bench.sdk_side import sdk_side

from claude_agent_http.domain.event import Event, NewEvent
from claude_agent_http.domain.session import Session
from claude_agent_http.ports import Store, TranscriptKey
from claude_agent_http.runtime.transcripts import PROJECT_KEY
from claude_agent_http.store import sqlite_store
from claude_agent_http.system import RandomIds, SystemClock

__all__ = ["measure"]

_AT_ONCE = 500
_READ = 100
_WHAT_WAS_SAID = json.dumps({"script": [{"text": "{{history}}"}]})
_FIRST_MESSAGE = f"remember me {SHORT_TURN}"


@dataclass(frozen=True, slots=True)
class _Talked:
    """A session that took a turn with a real CLI, as the store holds it."""

    session: Session
    events: Sequence[Event]
    transcript: Sequence[Mapping[str, Any]]


async def measure(bench: Bench) -> list[Figure]:
    path = bench.folder / "sessions.db"
    talked = await _one_turn(bench, path)
    bare = await _bare_cli_mb(bench)
    figures, stored = [], 1
    for count, limit in ((bench.count(1000, 20), 200), (bench.count(10_000, 40), 250)):
        await _fill(path, talked, count - stored)
        stored = count
        figures.append(await _figure(bench, path, count, limit, bare))
    return figures


async def _one_turn(bench: Bench, path: Path) -> _Talked:
    async with (
        service(bench.folder, bench.model.url, session_sqlite_path=path, prestart=False) as running,
        http_side(running.url) as http,
    ):
        session_id = await http.create("user-0")
        await http.chat(session_id, _FIRST_MESSAGE)
    store = sqlite_store(path, SystemClock())
    await store.open()
    try:
        transcript = await store.transcripts.load(TranscriptKey(PROJECT_KEY, session_id))
        events = await store.events.read(session_id)
        return _Talked(await store.sessions.get(session_id), events, transcript or [])
    finally:
        await store.close()


async def _bare_cli_mb(bench: Bench) -> float:
    """What one agent process holds that a bare SDK must keep for each conversation."""
    async with sdk_side(bench.folder, bench.model.url) as client:
        await client.turn(SHORT_TURN)
        return bare_clis().rss_mb


async def _fill(path: Path, talked: _Talked, count: int) -> None:
    """Copies of the session under ids of their own, as many turns would have left them."""
    store, ids = sqlite_store(path, SystemClock()), RandomIds()
    await store.open()
    try:
        for start in range(0, count, _AT_ONCE):
            numbers = range(start, min(start + _AT_ONCE, count))
            await asyncio.gather(*(_copy(store, ids, talked, number) for number in numbers))
    finally:
        await store.close()


async def _copy(store: Store, ids: RandomIds, talked: _Talked, number: int) -> None:
    session_id, turn_id = ids.session_id(), ids.event_id()
    fresh = replace(talked.session, id=session_id, user_id=f"user-{number % 10}", last_seq=0, message_count=0)
    await store.sessions.create(fresh)
    events = [
        NewEvent(turn_id if event.id == event.turn_id else ids.event_id(), event.type, event.data, turn_id)
        for event in talked.events
    ]
    await store.events.append(session_id, events)
    text = json.dumps(talked.transcript).replace(talked.session.id, session_id)
    await store.transcripts.append(TranscriptKey(PROJECT_KEY, session_id), json.loads(text))


async def _figure(bench: Bench, path: Path, count: int, limit: float, bare_mb: float) -> Figure:
    async with (
        service(bench.folder, bench.model.url, session_sqlite_path=path, session_ttl=0) as running,
        http_side(running.url) as http,
    ):
        after_start = usage(running.pid)
        stored = await _read_some(http)
        used, processes = usage(running.pid), await _processes(running, http)
        await _wakes(http, stored[0])
    if len(stored) != count or processes:
        raise RuntimeError(f"{len(stored)} of {count} sessions are stored and {processes} processes live")
    return Figure(
        name=f"hibernated.{count}_sessions",
        what=f"service process with {count:,} stored sessions that each had a turn, none live, "
        f"after the list of all and the events of {_READ} were read; resident set size",
        unit="MB",
        value=used.rss_mb,
        n=count,
        targets=(Target("value", limit),),
        compared_with={"name": "bare SDK, the CLI of one idle conversation", "value": bare_mb},
        details={"pss": used.pss_mb, "after_start": after_start.rss_mb, "agent_processes": processes},
    )


async def _read_some(http: HttpSide) -> list[str]:
    """The ids of all sessions."""
    stored = list(map(str, json.loads(await http.get("/api/v1/sessions"))))
    for session_id in stored[:_READ]:
        await http.get(f"/api/v1/sessions/{session_id}/events")
    return stored


async def _processes(running: Running, http: HttpSide) -> int:
    """Below the service, as the kernel tells; raises when the service itself knows of others."""
    below = len(psutil.Process(running.pid).children(recursive=True))
    known = json.loads(await http.get("/health"))["in_memory_clients"]
    if known > below:
        raise RuntimeError(f"the service tells of {known} live sessions, the kernel of {below} processes")
    return below


async def _wakes(http: HttpSide, session_id: str) -> None:
    """What was stored is a conversation, not mere rows: its agent goes on with it."""
    said = await http.say(session_id, _WHAT_WAS_SAID)
    if "remember me" not in said:
        raise RuntimeError(f"a stored session woke up without its conversation: {said}")
