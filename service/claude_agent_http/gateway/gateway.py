"""The gateway put together: an ASGI app to be served on loopback, and the tokens that it takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from claude_agent_http.gateway.access import GatewayAccess
from claude_agent_http.gateway.client import UpstreamClient
from claude_agent_http.gateway.failure import failure
from claude_agent_http.gateway.grants import Grant, Grants
from claude_agent_http.gateway.headers import tokens_in
from claude_agent_http.gateway.relay import MESSAGES, Relay
from claude_agent_http.gateway.rules import Rules
from claude_agent_http.gateway.upstream import UpstreamSource

__all__ = ["Gateway", "GatewayTimes"]

_PATHS = (MESSAGES, f"{MESSAGES}/count_tokens")


@dataclass(frozen=True, slots=True)
class GatewayTimes:
    """Limits in seconds: to connect, and of silence on either side; the CLI gives up earlier."""

    connect: float = 10.0
    silence: float = 150.0


class Gateway:
    """`async with` it while `app` is served; what is under way then ends with its server. It is for the
    server to cut off an agent that does not read, after `times.silence`."""

    def __init__(self, source: UpstreamSource, rules: Rules, times: GatewayTimes | None = None) -> None:
        self.times = times = times or GatewayTimes()
        self._grants = Grants()
        self._client = UpstreamClient(connect_seconds=times.connect, silence_seconds=times.silence)
        self._rules = rules
        relay = Relay(self._grants, rules, source, self._client)
        self.app = Starlette(
            routes=[Route(path, relay.to(path), methods=["POST"]) for path in _PATHS],
            exception_handlers={HTTPException: _nothing_here, Exception: _unforeseen},
        )
        self.app.router.redirect_slashes = False

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, trace)

    def holder_of(self, headers: Sequence[tuple[bytes, bytes]]) -> Grant | None:
        """Whose request it is that has these headers."""
        return self._grants.of(tokens_in(headers))

    def access(self, url: str) -> GatewayAccess:
        """For the agents of this service; `url` is where `app` is served."""
        return GatewayAccess(self._grants, self._rules.budgets.ledger, url)


async def _nothing_here(_request: Request, _error: Exception) -> Response:
    paths = " and ".join(f"POST {path}" for path in _PATHS)
    return failure(404, f"the gateway of claude-agent-http takes {paths} only")


async def _unforeseen(_request: Request, _error: Exception) -> Response:
    return failure(500, "the gateway of claude-agent-http failed; its log says why")
