"""An inner server that only this machine reaches, on any free port."""

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp

from claude_agent_http.system.inner_server import InnerServer

__all__ = ["LoopbackServer"]


class LoopbackServer(InnerServer):
    """`async with LoopbackServer(app) as server:` serves `app` at `server.url`."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        grace_seconds: float = 2,
        idle_seconds: int = 5,
        protocol: Callable[..., asyncio.Protocol] | None = None,
    ) -> None:
        super().__init__(
            app, "127.0.0.1", 0, grace_seconds=grace_seconds, idle_seconds=idle_seconds, protocol=protocol
        )
