"""Refuses requests that a web page sent to us under a name of its own (DNS rebinding)."""

import re
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from claude_agent_http.api.problems import problem_of
from claude_agent_http.domain.address import is_loopback

__all__ = ["HostCheck", "loopback_hosts"]

_LOCAL = ("127.0.0.1", "localhost", "[::1]")
_SHOWN = 100


class HostCheck:
    """421 for a `Host` that is none of `hosts`, whatever its port. `setting` says where the app listens.

    Starlette's own check answers with plain text; every error of ours is a problem.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str], setting: str = "api.host") -> None:
        self._app = app
        self._hosts = hosts
        self._setting = setting
        self._known = re.compile(rf"(?:{'|'.join(map(re.escape, hosts))})(?::\d{{1,5}})?", re.IGNORECASE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._known.fullmatch(host := Headers(scope=scope).get("host", "")):
            await self._app(scope, receive, send)
        else:
            await problem_of(Request(scope), self._refusal(host))(scope, receive, send)

    def _refusal(self, host: str) -> HTTPException:
        return HTTPException(
            421,
            f"the service listens on a local address and does not answer to the Host {host[:_SHOWN]!r}; ask "
            f"for it as {' or '.join(self._hosts)}, let a proxy send one of these as Host, or make it listen "
            f"on another address ({self._setting})",
        )


def loopback_hosts(listens_on: str | None) -> tuple[str, ...]:
    """The names of a service on a loopback address; none for one that others can reach, whose are unknown."""
    if listens_on is None or not is_loopback(listens_on):
        return ()
    own = f"[{listens_on}]" if ":" in listens_on else listens_on
    return tuple(dict.fromkeys((*_LOCAL, own)))
