"""Refuses bodies that are larger or slower than any request's: they would fill memory or hold connections."""

import asyncio

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from claude_agent_http.api.problems import problem_of

__all__ = ["BODY_SECONDS", "MAX_BODY_BYTES", "BodyLimit"]

MAX_BODY_BYTES = 2_097_152  # 100,000 characters take 1.2 MB when each is escaped as two surrogates
BODY_SECONDS = 30.0


class BodyLimit:
    """413 for a declared length above the limit, and for a stream as soon as it passes it; 408 for a body
    that has not come whole in `seconds`.

    Starlette's own limit answers with plain text; every error of ours is a problem.
    """

    def __init__(self, app: ASGIApp, seconds: float = BODY_SECONDS) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif _declared(scope) > MAX_BODY_BYTES:
            await problem_of(Request(scope), _too_large())(scope, receive, send)
        else:
            await self._app(scope, _limited(receive, self._seconds), send)


def _declared(scope: Scope) -> int:
    length = Headers(scope=scope).get("content-length", "0")
    return int(length) if length.isdecimal() else 0


def _limited(receive: Receive, seconds: float) -> Receive:
    """Only the body has a limit: what comes after it is that the client went away."""
    taken, whole, deadline = 0, False, asyncio.get_running_loop().time() + seconds

    async def take() -> Message:
        nonlocal taken, whole
        try:
            async with asyncio.timeout_at(None if whole else deadline):
                message = await receive()
        except TimeoutError:
            raise _too_slow(seconds) from None
        taken += len(message.get("body", b""))
        whole = whole or not message.get("more_body", False)
        if taken > MAX_BODY_BYTES:
            raise _too_large()
        return message

    return take


def _too_slow(seconds: float) -> HTTPException:
    said = f"the body did not come whole within {seconds:g} s; send it again"
    return HTTPException(408, said, {"Connection": "close"})  # the rest of it is not waited for


def _too_large() -> HTTPException:
    return HTTPException(413, f"the body is larger than {MAX_BODY_BYTES} bytes; send a shorter message")
