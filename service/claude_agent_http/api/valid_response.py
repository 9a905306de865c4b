"""Ends an upload or a stream when what its caller showed does not show that caller any more."""

import asyncio

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Send

from claude_agent_http.api.problems import problem_of
from claude_agent_http.domain.caller import Caller
from claude_agent_http.domain.errors import ClaudeAgentError, NotAuthenticatedError
from claude_agent_http.ports import Authenticator

__all__ = ["STREAM_SECONDS", "ValidResponse"]

STREAM_SECONDS = 5.0
"""How often the credential is looked at again while a body comes or a stream is open."""


class ValidResponse:
    """Tells the app that its client went away, once the credential is revoked, has expired or is another
    caller's. A response that has begun is ended as whole: its reader can go on with a new credential where
    this one stopped. Before that the answer is 401."""

    def __init__(
        self,
        authenticator: Authenticator,
        credential: str | None,
        caller: Caller,
        receive: Receive,
        send: Send,
    ) -> None:
        self._authenticator = authenticator
        self._credential = credential
        self._caller = caller
        self._receive = receive
        self._send = send
        self._due = _in_a_while()
        self._has_begun = False
        self._open = False
        self._refusal: NotAuthenticatedError | None = None

    async def of(self, app: ASGIApp, request: Request) -> None:
        await app(request.scope, self._received, self._sent)
        if self._refusal is None:
            return
        if not self._has_begun:
            await problem_of(request, self._refusal)(request.scope, self._receive, self._send)
        elif self._open:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _received(self) -> Message:
        """Only streams ask for anything behind the request's body. One that comes in small pieces is looked
        at as often as one that does not come."""
        while True:
            message: Message | None = None
            try:
                async with asyncio.timeout_at(self._due):
                    message = await self._receive()
            except TimeoutError:
                pass
            if asyncio.get_running_loop().time() >= self._due:
                self._refusal = await self._fault()
                self._due = _in_a_while()
            if self._refusal is not None:
                return {"type": "http.disconnect"}
            if message is not None:
                return message

    async def _sent(self, message: Message) -> None:
        if self._refusal is not None and not self._has_begun:
            return  # what the app says about the client that went away
        self._has_begun = True
        self._open = message["type"] == "http.response.start" or message.get("more_body", False)
        await self._send(message)

    async def _fault(self) -> NotAuthenticatedError | None:
        try:
            caller = await self._authenticator.caller(self._credential)
        except NotAuthenticatedError as error:
            return error
        except ClaudeAgentError:  # it cannot be known now; whoever revokes it needs the database too
            return None
        if caller != self._caller:
            return NotAuthenticatedError("the credential is another caller's since the request began")
        return None


def _in_a_while() -> float:
    return asyncio.get_running_loop().time() + STREAM_SECONDS
