"""A gateway on loopback before a model API whose every byte a test decides."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from claude_agent_http.domain.session import Session
from claude_agent_http.domain.turn import TurnError
from claude_agent_http.domain.usage import BudgetLimits
from claude_agent_http.engine import Budgets, Ledger
from claude_agent_http.gateway import (
    CLAUDE_PRICES,
    Gateway,
    GatewayTimes,
    Prices,
    Rules,
    UpstreamSource,
)
from claude_agent_http.model_access import gateway_server
from claude_agent_http.ports import Store
from claude_agent_http.server import ConnectionLimits
from claude_agent_http.store import memory_store
from claude_agent_http.system import SystemClock
from claude_agent_http.system.loopback import LoopbackServer

KEY = "sk-ant-the-real-one-0123456789"
PATH = "/v1/messages"
ASKED: dict[str, Any] = {
    "model": "claude-test",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "hello"}],
}


def session_of(user_id: str = "alice") -> Session:
    now = datetime.now(UTC)
    return Session(str(uuid4()), user_id, None, "/work", now, now, "digest")


@dataclass(frozen=True)
class Seen:
    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for given, value in self.headers if given == name]


Say = Callable[[bytes], Awaitable[None]]


@dataclass
class Model:
    """A model API that answers as `plays` says; without it with `status`, `headers` and `body`.

    `plays` gets a function that sends one chunk; who returns from it ends the answer whole, who raises breaks
    it off. `gone` is set when a caller went away before the end."""

    status: int = 200
    headers: Sequence[tuple[str, str]] = (("content-type", "application/json"),)
    body: bytes = b'{"type":"message"}'
    plays: Callable[[Say], Awaitable[None]] | None = None
    before: Callable[[], Awaitable[None]] | None = None
    seen: list[Seen] = field(default_factory=list)
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        self.seen.append(await _seen(scope, receive))
        self.entered.set()
        answering = asyncio.create_task(self._answer(send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                self.gone.set()
        finally:
            for task in (answering, leaving):
                task.cancel()
            await asyncio.gather(answering, leaving, return_exceptions=True)

    async def _answer(self, send: Send) -> None:
        if self.before is not None:
            await self.before()
        headers = [(name.encode(), value.encode()) for name, value in self.headers]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        if self.plays is None:
            await send({"type": "http.response.body", "body": self.body})
            return

        async def say(chunk: bytes) -> None:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})

        await self.plays(say)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _seen(scope: Scope, receive: Receive) -> Seen:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    headers = [(name.decode(), value.decode()) for name, value in scope["headers"]]
    return Seen(scope["method"], scope["path"], scope["query_string"].decode(), headers, body)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@dataclass(frozen=True)
class Agent:
    """An agent's side: its session, its token, and a client of the gateway that sends it."""

    session: Session
    token: str
    http: httpx.AsyncClient
    take_refusal: Callable[[], TurnError | None]

    async def ask(self, path: str = PATH, **more: Any) -> httpx.Response:
        return await self.http.post(path, **({"json": ASKED} | more))


@dataclass
class Rig:
    model: Model
    source: UpstreamSource
    limits: BudgetLimits = field(default_factory=BudgetLimits)
    prices: Prices = field(default_factory=lambda: Prices(CLAUDE_PRICES))
    allowed_models: Sequence[str] = ()
    store: Store = field(default_factory=lambda: memory_store(SystemClock()))
    times: GatewayTimes = field(default_factory=GatewayTimes)
    limits_of_connections: ConnectionLimits | None = None
    most_strangers: int = 128
    gateway: Gateway | None = None
    ledger: Ledger = field(init=False)
    url: str = ""
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def start(self, **times: float) -> "Rig":
        self.times = replace(self.times, **times)
        self.ledger = await self.stack.enter_async_context(Ledger(self.store.usage, SystemClock(), "w"))
        budgets = Budgets(self.limits, self.ledger, SystemClock())
        rules = Rules(budgets, self.prices, self.allowed_models)
        self.gateway = await self.stack.enter_async_context(Gateway(self.source, rules, self.times))
        server = gateway_server(
            self.gateway, strangers=self.most_strangers, limits=self.limits_of_connections
        )
        self.url = (await self.stack.enter_async_context(server)).url
        return self

    @asynccontextmanager
    async def agent(self, user_id: str = "alice") -> AsyncIterator[Agent]:
        assert self.gateway is not None
        session = await self.store.sessions.create(session_of(user_id))
        async with self.gateway.access(self.url).grant(session) as grant:
            environment = grant.environment
            token = environment["ANTHROPIC_API_KEY"]
            url = environment["ANTHROPIC_BASE_URL"]
            async with httpx.AsyncClient(base_url=url, headers={"x-api-key": token}, timeout=20) as client:
                yield Agent(session, token, client, grant.take_refusal)


@pytest.fixture
async def model() -> AsyncIterator[Model]:
    model = Model()
    async with LoopbackServer(model, grace_seconds=0) as server:
        model.url = server.url
        yield model


@pytest.fixture
async def rig(model: Model) -> AsyncIterator[Rig]:
    """Not started yet."""
    rig = Rig(model, UpstreamSource(api_key=KEY, base_url=model.url))
    async with rig.stack:
        yield rig
