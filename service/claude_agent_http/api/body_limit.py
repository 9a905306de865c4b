"""Refuses bodies that are larger or slower than they may be: they would fill memory or hold connections."""

import asyncio
import re
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from claude_agent_http.api.problems import problem_of

__all__ = ["BODY_SECONDS", "MAX_BODY_BYTES", "BodyLimit"]

MAX_BODY_BYTES = 2_097_152  # 100,000 characters take 1.2 MB when each is escaped as two surrogates
BODY_SECONDS = 30.0
_UPLOAD_SECONDS = 3600.0
_UPLOAD_BYTES_A_SECOND = 8192  # what a slow line of a phone carries
_UPLOAD_PATH = re.compile(r"/api/v1/sessions/[^/]+/files/.*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Limit:
    """`seconds` for the whole body, `silence` at most between two pieces of it, and on average at least
    `bytes_a_second` behind the first `silence`, 0 for any. `hint` is what to do."""

    bytes: int
    seconds: float
    silence: float
    hint: str
    bytes_a_second: int = 0

    def patience(self, taken: int, waited: float) -> float:
        """How many seconds the next piece may take, after so many bytes and so long a wait for them."""
        if not self.bytes_a_second:
            return self.silence
        return min(self.silence, self.silence + taken / self.bytes_a_second - waited)


class BodyLimit:
    """413 for a declared length above the limit, and for a stream as soon as it passes it; 408 for a body
    that has not come whole in `seconds`. An uploaded file has a limit of its own, and may take an hour as
    long as something comes every `seconds`, and 8 KB a second on average.

    Starlette's own limit answers with plain text; every error of ours is a problem.
    """

    def __init__(self, app: ASGIApp, seconds: float = BODY_SECONDS, *, upload_bytes: int = 0) -> None:
        self._app = app
        self._json = _Limit(MAX_BODY_BYTES, seconds, seconds, "send a shorter message")
        hint = "the setting api.max_upload_mb allows no more for a file"
        self._upload = _Limit(upload_bytes, _UPLOAD_SECONDS, seconds, hint, _UPLOAD_BYTES_A_SECOND)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._upload if _is_upload(scope) else self._json
        if _declared(scope) > limit.bytes:
            await problem_of(Request(scope), _too_large(limit))(scope, receive, send)
        else:
            await self._app(scope, _limited(receive, limit), send)


def _is_upload(scope: Scope) -> bool:
    return scope["method"] == "PUT" and _UPLOAD_PATH.fullmatch(scope["path"]) is not None


def _declared(scope: Scope) -> int:
    length = Headers(scope=scope).get("content-length", "0")
    return int(length) if length.isdecimal() else 0


def _limited(receive: Receive, limit: _Limit) -> Receive:
    """Only the body has a limit: what comes after it is that the client went away. The average counts the
    time that is waited for the client alone, not what we take for what came."""
    loop = asyncio.get_running_loop()
    taken, waited, whole, deadline = 0, 0.0, False, loop.time() + limit.seconds

    async def take() -> Message:
        nonlocal taken, waited, whole
        began = loop.time()
        until = None if whole else min(deadline, began + limit.patience(taken, waited))
        try:
            async with asyncio.timeout_at(until):
                message = await receive()
        except TimeoutError:
            raise _too_slow(limit) from None
        waited += loop.time() - began
        taken += len(message.get("body", b""))
        whole = whole or not message.get("more_body", False)
        if taken > limit.bytes:
            raise _too_large(limit)
        return message

    return take


def _too_slow(limit: _Limit) -> HTTPException:
    said = f"the body did not come whole within {limit.silence:g} s; send it again"
    if limit.silence < limit.seconds:
        said = (
            f"the file came too slowly: nothing for {limit.silence:g} s, less than {limit.bytes_a_second} "
            "bytes a second, or not all in an hour; send it again"
        )
    return HTTPException(408, said, {"Connection": "close"})  # the rest of it is not waited for


def _too_large(limit: _Limit) -> HTTPException:
    return HTTPException(413, f"the body is larger than {limit.bytes} bytes; {limit.hint}")
