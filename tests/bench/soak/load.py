"""A small steady load: users who each live one session after another, with all that happens in a session."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from tests.bench.bench import SHORT_TURN
from tests.bench.http_side import HttpSide
from tests.waiting import until

__all__ = ["IDLE_SECONDS", "Load"]

IDLE_SECONDS = 1
"""After which the service is to stop an agent process."""
_TOOL_TURN = json.dumps({"script": [{"tool": "Bash", "input": {"command": "true"}}, {"text": "done"}]})
_LONG_TURN = json.dumps({"script": [{"tokens": 600, "delay_ms": 50}]})
_HIBERNATES_SECONDS = 1.5
_LIMIT_SECONDS = 60
_PAUSE_SECONDS = 1.0


class Load:
    """`done` counts what was done, `errors` holds what should not have happened."""

    def __init__(self, http: HttpSide) -> None:
        self.done: Counter[str] = Counter()
        self.errors: list[str] = []
        self._http = http

    async def live(self, user: str, seconds: float) -> None:
        """Sessions of this user one after another, the last begun before the time is up; one at least."""
        end = time.monotonic() + seconds
        while True:
            try:
                async with asyncio.timeout(_LIMIT_SECONDS):
                    await self._session(user)
            except Exception as error:
                self.errors.append(repr(error))
            self.done["sessions"] += 1
            if time.monotonic() >= end:
                return
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _session(self, user: str) -> None:
        session_id = await self._http.create(user)
        async with self._followed(session_id) as follower:
            await self._turn(session_id, _TOOL_TURN)
            await self._come_and_go(session_id)
            await self._read(user, session_id)
            await asyncio.sleep(IDLE_SECONDS + _HIBERNATES_SECONDS)
            await self._turn(session_id, SHORT_TURN)
            await self._abandon(session_id)
            await until(lambda: follower.ended_turns == 3, _LIMIT_SECONDS)
            await self._http.delete(session_id)
            self.done["deletions"] += 1

    async def _turn(self, session_id: str, message: str) -> None:
        await self._http.timed(session_id, message)
        self.done["turns"] += 1

    async def _come_and_go(self, session_id: str) -> None:
        """A reader that leaves in the middle of the log."""
        async with aclosing(self._http.follow(session_id)) as events:
            async for _ in events:
                break
        self.done["readers that left"] += 1

    async def _read(self, user: str, session_id: str) -> None:
        for path in (f"?user_id={user}", f"/{session_id}", f"/{session_id}/events?limit=1000"):
            await self._http.get(f"/api/v1/sessions{path}")
            self.done["reads"] += 1

    async def _abandon(self, session_id: str) -> None:
        """A turn whose asker goes away, and that is interrupted."""
        await self._http.begin(session_id, _LONG_TURN)
        await self._http.interrupt(session_id)
        self.done["interrupted turns"] += 1

    @asynccontextmanager
    async def _followed(self, session_id: str) -> AsyncIterator["_Follower"]:
        """A reader of the whole session, which has to end by itself when the session is deleted."""
        follower = _Follower()
        task = asyncio.create_task(follower.read(self._http, session_id))
        try:
            yield follower
            await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        follower.check()
        self.done["readers to the end"] += 1


class _Follower:
    def __init__(self) -> None:
        self.ended_turns = 0
        self._seqs: list[int] = []
        self._last = ""

    async def read(self, http: HttpSide, session_id: str) -> None:
        async with aclosing(http.follow(session_id)) as events:
            async for event in events:
                self._last = event["type"]
                if "seq" in event:
                    self._seqs.append(event["seq"])
                self.ended_turns += self._last == "session.status_idle"

    def check(self) -> None:
        """Raises RuntimeError when it missed an event, or was cut off."""
        if self._seqs != list(range(1, len(self._seqs) + 1)) or self._last != "session.deleted":
            raise RuntimeError(f"a reader saw {self._last} last, after the events {self._seqs}")
