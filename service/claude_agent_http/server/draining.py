"""uvicorn with a drain: a signal stops new connections at once and starts the drain beside it."""

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial

import structlog
import uvicorn
from starlette.types import ASGIApp

from claude_agent_http.domain.errors import ListenError
from claude_agent_http.server.limits import ConnectionLimits, Connections
from claude_agent_http.server.protocol import LimitedProtocol

_log = structlog.get_logger(__name__)
_KEEP_ALIVE_SECONDS = 75
_LATE_SECONDS = 1


class DrainingServer(uvicorn.Server):
    """`serve` returns after SIGTERM, SIGINT or SIGHUP (its terminal was closed), when `drain` is done and the
    last response is sent.

    A second signal cuts the rest short. The process ends normally, not by the signal, so that what was
    opened before `serve` can be closed after it.
    """

    def __init__(
        self,
        app: ASGIApp,
        sockets: list[socket.socket],
        drain: Callable[[], Awaitable[None]],
        limits: ConnectionLimits,
    ) -> None:
        """`sockets` are bound; the server listens on them, and closes them, when it serves. The proxies of
        `limits` are believed about whose requests they pass on."""
        super().__init__(
            uvicorn.Config(
                app,
                http=partial(LimitedProtocol, limits, Connections(limits)),  # type: ignore[arg-type]
                proxy_headers=bool(limits.proxies),
                forwarded_allow_ips=list(limits.proxies),
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                ws="none",
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            )
        )
        self._sockets = sockets
        self._drain = drain
        self._draining: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except OSError as error:  # Someone else bound the same port in the same moment, and listens first.
            raise ListenError(f"cannot listen: {error.strerror or error}") from error
        if self.started:
            listening = [one.getsockname()[:2] for server in self.servers for one in server.sockets]
            _log.info("serving", addresses=[f"{host}:{port}" for host, port in listening])

    async def run_until_signalled(self) -> None:
        """Raises ListenError when another program came to listen on the port first."""
        try:
            await self.serve(self._sockets)
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
