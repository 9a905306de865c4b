"""Run as a program: opens the store of a URL (of Postgres, maybe by that of a pooler as well), appends for
ever, and says what was acknowledged."""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from uuid import uuid4

from claude_agent_http.domain.event import EventType, NewEvent
from claude_agent_http.domain.session import Session
from claude_agent_http.ports import Store
from claude_agent_http.store import postgres_store, sqlite_store

_APPENDERS = 4


class _Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return monotonic()


async def _run(url: str, pooler_url: str | None = None) -> None:
    store = _store(url, pooler_url)
    await store.open()
    await asyncio.gather(*(_append_for_ever(store) for _ in range(_APPENDERS)))


def _store(url: str, pooler_url: str | None) -> Store:
    path = url.removeprefix("sqlite:///")
    if path != url:
        return sqlite_store(Path(path), _Clock())
    direct = url if pooler_url else None
    return postgres_store(pooler_url or url, _Clock(), direct_url=direct, pool_size=2)


async def _append_for_ever(store: Store) -> None:
    now = datetime.now(UTC)
    session = await store.sessions.create(Session(str(uuid4()), "ann", None, "/", now, now, "digest"))
    while True:
        events = [NewEvent(uuid4().hex, EventType.AGENT_MESSAGE, {"text": "x" * 100}) for _ in range(3)]
        for event in await store.events.append(session.id, events):
            print(session.id, event.seq, event.id, flush=True)


if __name__ == "__main__":
    asyncio.run(_run(*sys.argv[1:]))
