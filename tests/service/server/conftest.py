"""The service's server over any application, on a real socket."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send
from tests.waiting import until

from claude_agent_http.server import ConnectionLimits, DrainingServer
from claude_agent_http.system.listeners import bound_socket


@dataclass
class Echo:
    """Answers with what it was asked, when all of it came; `asked` are the requests that reached it."""

    asked: list[Scope] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.append(scope)
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            if not message["more_body"]:
                break
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class Raw:
    """A connection whose bytes the test chooses."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        """What the peer does not want any more is no error here."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except ConnectionError:
            return

    async def rest(self, seconds: float = 5) -> bytes:
        """All that comes until the peer closes; raises TimeoutError when it does not."""
        taken = b""
        async with asyncio.timeout(seconds):
            while True:
                try:
                    data = await self._reader.read(65536)
                except ConnectionError:
                    return taken
                if not data:
                    return taken
                taken += data

    async def response(self) -> bytes:
        """One with a length."""
        async with asyncio.timeout(5):
            head = await self._reader.readuntil(b"\r\n\r\n")
            size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            return head + await self._reader.readexactly(size)

    async def taken(self, until: bytes) -> bytes:
        async with asyncio.timeout(5):
            return await self._reader.readuntil(until)

    async def some(self, most: int) -> bytes:
        """What is there, empty at the end."""
        async with asyncio.timeout(5):
            return await self._reader.read(most)

    def close(self) -> None:
        self._writer.close()


@dataclass
class Served:
    port: int
    server: DrainingServer

    @asynccontextmanager
    async def raw(self) -> AsyncIterator[Raw]:
        raw = Raw(*await asyncio.open_connection("127.0.0.1", self.port))
        try:
            yield raw
        finally:
            raw.close()

    async def says(self, data: bytes) -> bytes:
        """What it answers to these bytes, behind which nothing comes."""
        async with self.raw() as raw:
            await raw.send(data)
            return await raw.rest()

    @property
    def connections(self) -> set[Any]:
        return self.server.server_state.connections

    @property
    def open(self) -> int:
        return len(self.connections)


@pytest.fixture
def serve():
    """`async with serve(app, header_seconds=1) as served:`"""

    @asynccontextmanager
    async def made(app: ASGIApp, **limits: Any) -> AsyncIterator[Served]:
        async def drain() -> None: ...

        listener = bound_socket(socket.AF_INET, ("127.0.0.1", 0))
        server = DrainingServer(app, [listener], drain, ConnectionLimits(**limits))
        serving = asyncio.create_task(server.run_until_signalled())
        await until(lambda: server.started)
        try:
            yield Served(listener.getsockname()[1], server)
        finally:
            server.should_exit = server.force_exit = True
            await serving

    return made
