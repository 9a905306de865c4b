"""The limited protocol for a port that all reach from one address: what counts is who they show to be."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from claude_agent_http.server.holders import Holders
from claude_agent_http.server.limits import ConnectionLimits, Connections
from claude_agent_http.server.protocol import LimitedProtocol
from claude_agent_http.server.refusal import TOO_MANY_CONNECTIONS

__all__ = ["held_protocol"]


def held_protocol(limits: ConnectionLimits, holders: Holders) -> Callable[..., asyncio.Protocol]:
    """For `uvicorn.Config(http=...)`, of one server."""
    return partial(_HeldProtocol, holders, limits, Connections(limits))


class _HeldProtocol(LimitedProtocol):
    def __init__(
        self, holders: Holders, limits: ConnectionLimits, counted: Connections, **of_uvicorn: Any
    ) -> None:
        super().__init__(limits, counted, **of_uvicorn)
        self._holders = holders

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._place is not None:
            self._holders.met(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._holders.left(self)
        super().connection_lost(exc)

    def give_way(self) -> None:
        self.transport.abort()

    def _check(self) -> None:
        super()._check()
        if not self._holders.shown(self, self.headers):
            self._refuse(TOO_MANY_CONNECTIONS)
