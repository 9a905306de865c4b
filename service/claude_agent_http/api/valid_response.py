"""Ends a stream when what its caller showed is not valid any more."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from claude_agent_http.domain.errors import ClaudeAgentError, NotAuthenticatedError
from claude_agent_http.ports import Authenticator

__all__ = ["STREAM_SECONDS", "ValidResponse"]

STREAM_SECONDS = 5.0
"""How often the credential of an open stream is looked at again."""


class ValidResponse:
    """Tells the app that its client went away, once the credential is revoked or has expired, and ends the
    response as whole: its reader can go on with a new credential where this one stopped."""

    def __init__(
        self, authenticator: Authenticator, credential: str | None, receive: Receive, send: Send
    ) -> None:
        self._authenticator = authenticator
        self._credential = credential
        self._receive = receive
        self._send = send
        self._open = False
        self._ended = False

    async def of(self, app: ASGIApp, scope: Scope) -> None:
        await app(scope, self._received, self._sent)
        if self._ended and self._open:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _received(self) -> Message:
        """Only streams ask for anything behind the request's body."""
        while True:
            try:
                async with asyncio.timeout(STREAM_SECONDS):
                    return await self._receive()
            except TimeoutError:
                if self._open and not await self._is_valid():
                    self._ended = True
                    return {"type": "http.disconnect"}

    async def _sent(self, message: Message) -> None:
        self._open = message["type"] == "http.response.start" or message.get("more_body", False)
        await self._send(message)

    async def _is_valid(self) -> bool:
        try:
            await self._authenticator.caller(self._credential)
        except NotAuthenticatedError:
            return False
        except ClaudeAgentError:  # it cannot be known now; whoever revokes it needs the database too
            return True
        return True
