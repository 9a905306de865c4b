"""The model as an agent reaches it: the gateway's address and a token of its own."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from claude_agent_http.domain.session import Session
from claude_agent_http.domain.turn import TurnError
from claude_agent_http.engine.ledger import Ledger
from claude_agent_http.gateway.grants import Grant, Grants

__all__ = ["GatewayAccess"]

_SETTLE_SECONDS = 2.0


class _Granted:
    """See `ports.ModelGrant`."""

    def __init__(self, grant: Grant, environment: Mapping[str, str]) -> None:
        self._grant = grant
        self.environment = environment

    def take_refusal(self) -> TurnError | None:
        refusal, self._grant.refusal = self._grant.refusal, None
        return refusal


class GatewayAccess:
    """See `ports.ModelAccess`. `url` is where the gateway listens."""

    def __init__(self, grants: Grants, ledger: Ledger, url: str) -> None:
        self._grants = grants
        self._ledger = ledger
        self._url = url

    @asynccontextmanager
    async def grant(self, session: Session) -> AsyncIterator[_Granted]:
        try:
            async with self._grants.granted(session) as (token, grant):
                yield _Granted(grant, {"ANTHROPIC_BASE_URL": self._url, "ANTHROPIC_API_KEY": token})
        finally:
            # While the session is still ours: whoever deletes it, or its user, comes after this.
            await self._ledger.settle(_SETTLE_SECONDS)
