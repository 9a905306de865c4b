"""How often may be asked: known callers by who they are, unknown ones by where they come from."""

from dataclasses import dataclass

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from claude_agent_http.api.audit import leave_out
from claude_agent_http.api.caller_key import caller_key
from claude_agent_http.api.client_address import client_network
from claude_agent_http.api.problems import problem_of
from claude_agent_http.api.rate_headers import rate_headers
from claude_agent_http.domain.errors import (
    ClaudeAgentError,
    CredentialMissingError,
    NotAuthenticatedError,
    RateLimitedError,
)
from claude_agent_http.domain.rate import Standing
from claude_agent_http.engine import Rate

__all__ = ["CallerRate", "RequestRates", "StrangerRate"]


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
    """Counts by address what `Authentication` refuses; None is no limit. It keeps out nothing that is valid:
    behind one address there may be many callers, with new tokens all the time. What it limits is the log's
    and the audit's lines about strangers, and how far whoever tries credentials gets in the way of others."""

    def __init__(self, rate: Rate | None) -> None:
        self._rate = rate

    def suspects(self, scope: Scope) -> bool:
        """Whether too much was refused of late where this request comes from."""
        return self._rate is not None and self._rate.standing(_refused(scope)).wait > 0

    def answer(self, scope: Scope, error: ClaudeAgentError) -> ClaudeAgentError:
        """What to say to a request that was refused for that. Who shows nothing tries nothing, and is asked
        for a credential however often that happens."""
        if self._rate is None or not isinstance(error, NotAuthenticatedError):
            return error
        is_missing = isinstance(error, CredentialMissingError)
        try:
            self._rate.take(("nothing shown", client_network(scope)) if is_missing else _refused(scope))
        except RateLimitedError as limited:
            leave_out(scope)
            return error if is_missing else limited
        return error


def _refused(scope: Scope) -> tuple[str, str]:
    return "refused", client_network(scope)
