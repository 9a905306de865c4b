"""The same access for every session, with nothing between an agent and its model: for tests and measures."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from claude_agent_http.domain.session import Session
from claude_agent_http.domain.turn import TurnError

__all__ = ["FixedModelAccess"]


@dataclass(frozen=True, slots=True)
class FixedModelAccess:
    """See `ports.ModelAccess`; also the one grant that it gives."""

    environment: Mapping[str, str]

    def take_refusal(self) -> TurnError | None:
        return None

    @asynccontextmanager
    async def grant(self, session: Session) -> AsyncIterator["FixedModelAccess"]:
        yield self  # whatever the session
