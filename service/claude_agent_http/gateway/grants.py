"""Which token is whose: made at each start of an agent, held in memory only, dead when the agent ends."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field

import anyio

from claude_agent_http.domain.session import Session
from claude_agent_http.domain.turn import TurnError

__all__ = ["Grant", "Grants", "TooManyAtOnceError"]

_TOKEN_BYTES = 32
_MOST_AT_ONCE = 32
_END_SECONDS = 1.0


class TooManyAtOnceError(Exception):
    """One agent has too many requests under way."""


@dataclass(slots=True, eq=False)
class Grant:
    """Whom an agent's requests are for, and those of them that are under way. `refusal` is why the last one
    was refused, until that is taken."""

    session_id: str
    user_id: str
    refusal: TurnError | None = None
    _running: set[anyio.CancelScope] = field(default_factory=set, repr=False)
    _idle: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @contextmanager
    def request(self, scope: anyio.CancelScope) -> Iterator[None]:
        """Meanwhile the end of the grant cancels `scope`. Raises TooManyAtOnceError."""
        if len(self._running) >= _MOST_AT_ONCE:
            raise TooManyAtOnceError
        self._running.add(scope)
        try:
            yield
        finally:
            self._running.discard(scope)
            if not self._running:
                self._idle.set()

    async def end(self) -> None:
        """Returns when no request is under way any more, or does not end."""
        self._idle.clear()
        for scope in self._running:
            scope.cancel()
        if self._running:
            with suppress(TimeoutError):
                async with asyncio.timeout(_END_SECONDS):
                    await self._idle.wait()


class Grants:
    """Keyed by the tokens' digests: how long a look-up takes tells nothing about a token."""

    def __init__(self) -> None:
        self._by_digest: dict[bytes, Grant] = {}

    @asynccontextmanager
    async def granted(self, session: Session) -> AsyncIterator[tuple[str, Grant]]:
        """A new token. At the end it is worth nothing, and requests made with it are cancelled."""
        token = f"gw-{secrets.token_urlsafe(_TOKEN_BYTES)}"
        grant = self._by_digest[_digest(token.encode())] = Grant(session.id, session.user_id)
        try:
            yield token, grant
        finally:
            del self._by_digest[_digest(token.encode())]
            await grant.end()

    def of(self, tokens: Sequence[bytes]) -> Grant | None:
        """Whose token was sent; None for none, for several, and for one that is not granted, or no more."""
        return self._by_digest.get(_digest(tokens[0])) if len(tokens) == 1 else None


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
