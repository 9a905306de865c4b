"""uvicorn with a drain: a signal stops new connections at once and starts the drain beside it."""

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import structlog
import uvicorn
from starlette.types import ASGIApp

_log = structlog.get_logger(__name__)
_KEEP_ALIVE_SECONDS = 75
_LATE_SECONDS = 1


class DrainingServer(uvicorn.Server):
    """`serve` returns after SIGTERM, SIGINT or SIGHUP (its terminal was closed), when `drain` is done and the
    last response is sent.

    A second signal cuts the rest short. The process ends normally, not by the signal, so that what was
    opened before `serve` can be closed after it.
    """

    def __init__(self, app: ASGIApp, host: str, port: int, drain: Callable[[], Awaitable[None]]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                ws="none",
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            )
        )
        self._drain = drain
        self._draining: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            listening = [one.getsockname()[:2] for server in self.servers for one in server.sockets]
            _log.info("serving", addresses=[f"{host}:{port}" for host, port in listening])

    async def run_until_signalled(self) -> None:
        """Raises SystemExit when the port cannot be had."""
        try:
            await self.serve()
        finally:
            await self._drained()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        for number in numbers:
            loop.add_signal_handler(number, self._signalled)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def _signalled(self) -> None:
        if self._draining is not None:
            self.force_exit = True
            self._draining.cancel()
        self.should_exit = True
        self._draining = self._start_draining()

    def _start_draining(self) -> asyncio.Task[None]:
        if self._draining is None:
            self._draining = asyncio.create_task(self._run_drain(), name="drain")
        return self._draining

    async def _run_drain(self) -> None:
        await self._drain()
        asyncio.get_running_loop().call_later(_LATE_SECONDS, self._cut_late_connections)

    def _cut_late_connections(self) -> None:
        self.force_exit = True

    async def _drained(self) -> None:
        await asyncio.gather(self._start_draining(), return_exceptions=True)
