"""A client of the service for tests: scripted turns, the whole log, followers that keep what they saw."""

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Any, Self

import httpx

LIMIT_SECONDS = 60
Event = dict[str, Any]


def script(*steps: dict[str, Any]) -> str:
    """A message that tells the demo model what to answer."""
    return json.dumps({"script": list(steps)})


def bash(command: str) -> dict[str, Any]:
    return {"tool": "Bash", "input": {"command": command}}


def tokens(count: int, milliseconds: int) -> dict[str, Any]:
    """An answer of so many tokens, each after a pause; `said` is its text."""
    return {"tokens": count, "delay_ms": milliseconds}


def said(count: int) -> str:
    return " ".join(f"tok{number}" for number in range(count))


class Client:
    def __init__(self, url: str) -> None:
        # Trusts nobody, for it speaks http://: to read the machine's certificates takes 16 ms.
        nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.http = httpx.AsyncClient(base_url=url, timeout=LIMIT_SECONDS, trust_env=False, verify=nobody)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    async def create(self, user: str = "ann", **fields: Any) -> str:
        answer = await self.http.post("/api/v1/sessions", json={"user_id": user, **fields})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["session_id"])

    async def chat(self, session: str, message: str, seconds: float = 60) -> httpx.Response:
        body = {"session_id": session, "message": message, "timeout": seconds}
        return await self.http.post("/api/v1/chat", json=body, timeout=seconds + LIMIT_SECONDS)

    async def say(self, session: str, message: str, seconds: float = 60) -> str:
        """The answer's text; the turn must work."""
        answer = await self.chat(session, message, seconds)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["text"])

    async def recall(self, session: str) -> str:
        """What the model was told in this conversation so far."""
        return await self.say(session, "what did I say?")

    async def chunks(
        self, session: str, message: str, seconds: float = 60
    ) -> AsyncGenerator[dict[str, Any], None]:
        body = {"session_id": session, "message": message, "timeout": seconds}
        async with self.http.stream("POST", "/api/v1/chat/stream", json=body) as response:
            assert response.status_code == 200, await response.aread()
            async for line in response.aiter_lines():
                if line.startswith("data:"):
                    yield json.loads(line.removeprefix("data:"))

    async def events(self, session: str) -> list[Event]:
        """The whole log, by its pages."""
        found: list[Event] = []
        page: str | None = ""
        while page is not None:
            asked = {"limit": "7", **({"page": page} if page else {})}
            answer = await self.http.get(f"/api/v1/sessions/{session}/events", params=asked)
            assert answer.status_code == 200, answer.text
            found += answer.json()["data"]
            page = answer.json()["next_page"]
        return found

    async def events_when_idle(self, session: str, seconds: float = 30) -> list[Event]:
        """The whole log, once the turn that it ends in has ended. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while (log := await self.events(session)) and log[-1]["type"] != "session.status_idle":  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        return log

    async def last_turn(self, session: str) -> list[Event]:
        log = await self.events(session)
        return [event for event in log if event["turn_id"] == log[-1]["turn_id"]]

    def follow(self, session: str, *, deltas: bool = False, last: int | None = None) -> "Follower":
        return Follower(self.http, session, deltas, last)


class Follower:
    """Reads `/events/stream` while its block runs, and keeps all that came."""

    def __init__(self, http: httpx.AsyncClient, session: str, deltas: bool, last: int | None) -> None:
        headers = {} if last is None else {"Last-Event-ID": str(last)}
        self._request = http.build_request(
            "GET",
            f"/api/v1/sessions/{session}/events/stream",
            params={"deltas": deltas},
            headers=headers,
            timeout=httpx.Timeout(LIMIT_SECONDS),
        )
        self._http = http
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.events: list[Event] = []
        self.ids: list[int] = []
        self.deltas: list[Event] = []
        self.ending: str | None = None
        """None while it reads, then "closed" by the service in good order, or "cut"."""

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def until(self, condition: Callable[["Follower"], bool], seconds: float = 30) -> None:
        """Raises TimeoutError; AssertionError when the stream ends before."""
        async with asyncio.timeout(seconds):
            while not condition(self):
                assert self.ending is None, f"the stream was {self.ending}: {self.events[-1:]}"
                self._news.clear()
                await self._news.wait()

    async def until_type(self, kind: str, seconds: float = 30) -> None:
        await self.until(lambda me: any(event["type"] == kind for event in me.events), seconds)

    async def until_ended(self, seconds: float = 30) -> str:
        async with asyncio.timeout(seconds):
            while self.ending is None:
                self._news.clear()
                await self._news.wait()
        return self.ending

    async def _read(self) -> None:
        try:
            await self._take(await self._http.send(self._request, stream=True))
            self.ending = "closed"
        except httpx.TransportError:
            self.ending = "cut"
        finally:
            self._news.set()

    async def _take(self, response: httpx.Response) -> None:
        position: int | None = None
        try:
            async for line in response.aiter_lines():
                field, _, value = line.partition(": ")
                if field == "id":
                    position = int(value)
                elif field == "data":
                    self._keep(position, json.loads(value))
                    position = None
        finally:
            await response.aclose()

    def _keep(self, position: int | None, data: Event) -> None:
        if position is None:
            self.deltas.append(data)
        else:
            self.ids.append(position)
            self.events.append(data)
        self._news.set()


def assert_dense(log: list[Event]) -> None:
    assert [event["seq"] for event in log] == list(range(1, len(log) + 1))
    assert len({event["id"] for event in log}) == len(log)
