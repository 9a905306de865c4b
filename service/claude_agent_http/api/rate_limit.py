"""Refuses callers who ask too often: known ones by who they are, unknown ones by where they come from."""

import hashlib
import secrets
from collections import OrderedDict
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from claude_agent_http.api.access import OpenPaths
from claude_agent_http.api.caller_key import caller_key
from claude_agent_http.api.client_address import client_network
from claude_agent_http.api.problems import problem_of
from claude_agent_http.api.rate_headers import rate_headers
from claude_agent_http.domain.errors import RateLimitedError
from claude_agent_http.domain.rate import Standing
from claude_agent_http.engine import Rate

__all__ = ["CallerRate", "RequestRates", "StrangerRate"]

_REMEMBERED = 10_000
_UNAUTHORIZED = 401


@dataclass(frozen=True, slots=True)
class RequestRates:
    """None is no limit. `at_once`: how many requests of one caller may be under way."""

    callers: Rate | None = None
    strangers: Rate | None = None
    at_once: int | None = None


class CallerRate:
    """Stands behind `Authentication`. The users of who acts for any are limited by their turns."""

    def __init__(self, app: ASGIApp, rate: Rate) -> None:
        self._app = app
        self._rate = rate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = caller_key(scope)
        if key is None:
            await self._app(scope, receive, send)
            return
        try:
            standing = self._rate.take(key)
        except RateLimitedError as error:
            await problem_of(Request(scope), error)(scope, receive, send)
            return
        await self._app(scope, receive, _telling(standing, send))


def _telling(standing: Standing, send: Send) -> Send:
    async def tell(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            if "ratelimit" not in headers:  # a refused turn tells of its own limit
                headers.update(rate_headers(standing))
        await send(message)

    return tell


class StrangerRate:
    """Stands before `Authentication`, and counts what that refuses by address. An address that was refused
    too often is asked nothing more but what shows a credential that was good here before: one who guesses
    keys must not shut out the others behind the same proxy. `open_paths` are open."""

    def __init__(self, app: ASGIApp, rate: Rate, open_paths: OpenPaths) -> None:
        self._app = app
        self._rate = rate
        self._open_paths = open_paths
        self._good: OrderedDict[bytes, None] = OrderedDict()
        self._secret = secrets.token_bytes(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self._open_paths:
            await self._app(scope, receive, send)
            return
        address, shown = client_network(scope), self._digest(scope)
        if shown not in self._good:
            try:
                self._rate.check(address)
            except RateLimitedError as error:
                await problem_of(Request(scope), error)(scope, receive, send)
                return
        await self._app(scope, receive, self._counting(scope, address, shown, send))

    def _counting(self, scope: Scope, address: str, shown: bytes, send: Send) -> Send:
        async def count(message: Message) -> None:
            if message["type"] == "http.response.start":
                if message["status"] == _UNAUTHORIZED:
                    self._good.pop(shown, None)
                    self._rate.charge(address, 1)
                elif "caller" in scope.get("state", {}):
                    self._remember(shown)
            await send(message)

        return count

    def _remember(self, shown: bytes) -> None:
        self._good[shown] = None
        self._good.move_to_end(shown)
        if len(self._good) > _REMEMBERED:
            self._good.popitem(last=False)

    def _digest(self, scope: Scope) -> bytes:
        """Of all that the request shows; nothing of it can be told from that."""
        headers = Headers(scope=scope)
        shown = [*headers.getlist("authorization"), *headers.getlist("x-api-key")]
        return hashlib.blake2b("\n".join(shown).encode(), key=self._secret, digest_size=16).digest()
