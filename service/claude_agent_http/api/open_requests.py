"""Refuses callers who have too many requests under way: each open stream holds a connection."""

from collections import Counter

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from claude_agent_http.api.caller_key import caller_key
from claude_agent_http.api.problems import problem_of
from claude_agent_http.domain.errors import BusyError

__all__ = ["OpenRequests"]

_RETRY_SECONDS = 5


class OpenRequests:
    """429 beyond `most` of one caller at once. Stands behind `Authentication`: all that come through a proxy
    come from one address, and only here it is known whose they are."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most
        self._open: Counter[tuple[str, str]] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = caller_key(scope)
        if key is None:
            await self._app(scope, receive, send)
        elif self._open[key] >= self._most:
            await problem_of(Request(scope), self._refusal())(scope, receive, send)
        else:
            await self._counted(key, scope, receive, send)

    async def _counted(self, key: tuple[str, str], scope: Scope, receive: Receive, send: Send) -> None:
        self._open[key] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]

    def _refusal(self) -> BusyError:
        return BusyError(
            f"the limit of {self._most} requests of one caller at once is reached; end some streams first",
            retry_after=_RETRY_SECONDS,
        )
