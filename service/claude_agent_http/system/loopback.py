"""An ASGI app served on a free loopback port, inside the running event loop."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import uvicorn
from starlette.types import ASGIApp

__all__ = ["LoopbackError", "LoopbackServer"]

_START_SECONDS = 10
_END_SECONDS = 2


class LoopbackError(RuntimeError):
    """The server could not start, or did not end in its time; the text says why."""


class LoopbackServer:
    """`async with LoopbackServer(app) as server:` serves `app` at `server.url` until the block ends.

    Requests under way at the end have `grace_seconds` to finish; then their connections are closed.
    No signal handler is installed and no logging configured. Raises LoopbackError when it cannot start.
    """

    def __init__(
        self, app: ASGIApp, *, grace_seconds: float = 2, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self._grace_seconds = grace_seconds
        self._address = (host, port)
        self._server = _Server(_config(app))
        self._task: asyncio.Task[None] | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`, valid inside the block."""
        return f"http://{self._address[0]}:{self._port}"

    async def __aenter__(self) -> Self:
        listener = _bind(self._address)
        self._port = listener.getsockname()[1]
        self._task = asyncio.create_task(_serve(self._server, listener), name=f"loopback:{self._port}")
        ready = asyncio.create_task(self._server.ready.wait())
        try:
            await asyncio.wait(
                {self._task, ready}, timeout=_START_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            ready.cancel()
            if not self._server.ready.is_set():
                await _end_by_force(self._task)
                listener.close()
        if not self._server.ready.is_set():
            raise LoopbackError(f"cannot serve on {self.url}: {_reason(self._task)}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            await _end(self._server, self._task, self._grace_seconds)


class _Server(uvicorn.Server):
    """uvicorn's server, without signals, that says when it accepts connections."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(app, log_config=None, access_log=False, server_header=False)


def _bind(address: tuple[str, int]) -> socket.socket:
    # asyncio turns Nagle off only for sockets whose protocol is named; else each answer may wait 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        return listener
    except OSError as error:
        listener.close()
        raise LoopbackError(f"cannot listen on {address[0]}:{address[1]}: {error}") from error


async def _serve(server: _Server, listener: socket.socket) -> None:
    """uvicorn leaves by SystemExit when the app's start fails; that would end the whole loop."""
    try:
        await server.serve([listener])
    except SystemExit as error:
        raise LoopbackError("the app's start-up failed") from error


async def _end(server: _Server, task: asyncio.Task[None], grace_seconds: float) -> None:
    server.should_exit = True
    try:
        await asyncio.wait({task}, timeout=grace_seconds)
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        await asyncio.wait({task}, timeout=_END_SECONDS)
    finally:
        await _end_by_force(task, *server.server_state.tasks)


async def _end_by_force(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=_END_SECONDS)


def _reason(task: asyncio.Task[None]) -> str:
    if not task.done() or task.cancelled():
        return f"not ready within {_START_SECONDS} s"
    return str(task.exception() or "the server ended at once")
