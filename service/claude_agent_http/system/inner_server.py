"""An ASGI app served beside the service's own, inside the running event loop."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

import uvicorn
from starlette.types import ASGIApp

from claude_agent_http.system.listeners import bound_socket

__all__ = ["InnerServer", "InnerServerError"]

_START_SECONDS = 10
_END_SECONDS = 2


class InnerServerError(RuntimeError):
    """The server could not start, or did not end in its time; the text says why."""


class InnerServer:
    """`async with InnerServer(app, host, port) as server:` serves `app` until the block ends; port 0 is any
    free one, which `server.address` tells.

    Requests under way at the end have `grace_seconds` to finish; then their connections are closed. One that
    nobody uses is closed after `idle_seconds`. `protocol` makes uvicorn's protocol of each connection, where
    its own is too trusting.
    No signal handler is installed and no logging configured. Raises InnerServerError when it cannot start.
    """

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        port: int,
        *,
        grace_seconds: float = 2,
        idle_seconds: int = 5,
        protocol: Callable[..., asyncio.Protocol] | None = None,
    ) -> None:
        self._grace_seconds = grace_seconds
        self._host, self._port = host, port
        self._server = _Server(_config(app, idle_seconds, protocol))
        self._task: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """`HOST:PORT`."""
        return f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    async def __aenter__(self) -> Self:
        listener = self._bind()
        self._port = listener.getsockname()[1]
        self._task = asyncio.create_task(_serve(self._server, listener), name=f"server {self.address}")
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
            raise InnerServerError(f"cannot serve on {self.address}: {_reason(self._task)}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            await _end(self._server, self._task, self._grace_seconds)

    def _bind(self) -> socket.socket:
        try:
            return _listener(self._host, self._port)
        except OSError as error:
            reason = error.strerror or error
            raise InnerServerError(f"cannot listen on {self.address}: {reason}") from error


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


def _config(
    app: ASGIApp, idle_seconds: int, protocol: Callable[..., asyncio.Protocol] | None
) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=protocol or "auto",  # type: ignore[arg-type]
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=idle_seconds,
    )


def _listener(host: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return bound_socket(family, address)


async def _serve(server: _Server, listener: socket.socket) -> None:
    """uvicorn leaves by SystemExit when the app's start fails; that would end the whole loop."""
    try:
        await server.serve([listener])
    except SystemExit as error:
        raise InnerServerError("the app's start-up failed") from error


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
