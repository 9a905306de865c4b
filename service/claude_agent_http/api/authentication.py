"""Finds out who calls, before anything of the request's body is read."""

import logging
from collections.abc import Iterator

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from claude_agent_http.api.access import OpenPaths
from claude_agent_http.api.client_address import client_address
from claude_agent_http.api.problems import problem_of
from claude_agent_http.api.rate_limit import StrangerRate
from claude_agent_http.api.request_log import is_about
from claude_agent_http.api.valid_response import ValidResponse
from claude_agent_http.domain.caller import EVERYONE
from claude_agent_http.domain.errors import (
    ClaudeAgentError,
    CredentialMissingError,
    NotAuthenticatedError,
)
from claude_agent_http.ports import Authenticator

__all__ = ["MAX_CREDENTIAL", "Authentication", "credential_of"]

MAX_CREDENTIAL = 16_384
_BEARER = "bearer "
_log = logging.getLogger(__name__)


class Authentication:
    """Behind every request there is a known caller (`request.state.caller`), or the answer is 401; but for
    `open_paths`. Without an authenticator everyone is the caller."""

    def __init__(
        self,
        app: ASGIApp,
        authenticator: Authenticator | None,
        strangers: StrangerRate,
        open_paths: OpenPaths,
    ) -> None:
        self._app = app
        self._authenticator = authenticator
        self._strangers = strangers
        self._open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope) if scope["type"] == "http" else None
        if request is None or scope["path"] in self._open_paths:
            await self._app(scope, receive, send)
        elif self._authenticator is None:
            request.state.caller = EVERYONE
            await self._app(scope, receive, send)
        else:
            await self._ask(self._authenticator, request, receive, send)

    async def _ask(
        self, authenticator: Authenticator, request: Request, receive: Receive, send: Send
    ) -> None:
        try:
            credential = credential_of(request.headers)
            suspect = self._strangers.suspects(request.scope)
            caller = await authenticator.caller(credential, suspect=suspect)
        except ClaudeAgentError as error:
            answer = self._strangers.answer(request.scope, error)
            _log_refusal(request, answer)
            await problem_of(request, answer)(request.scope, receive, send)
            return
        request.state.caller = caller
        is_about(request, caller=caller.credential)
        response = ValidResponse(authenticator, credential, caller, receive, send)
        await response.of(self._app, request)


def _log_refusal(request: Request, error: ClaudeAgentError) -> None:
    """Of who tries keys; the error's text never holds what was shown."""
    if isinstance(error, NotAuthenticatedError) and not isinstance(error, CredentialMissingError):
        client, request_id = client_address(request.scope), request.state.request_id
        fields = {"reason": str(error), "client": client, "request_id": request_id}
        _log.warning("a credential was refused", extra=fields)


def credential_of(headers: Headers) -> str | None:
    """What the request shows, in `X-Api-Key` or as a Bearer token; None when it shows nothing.

    Raises NotAuthenticatedError for different ones in one request (what stands before the service may have
    looked at the other), and for one longer than any key or token of ours.
    """
    shown = {text.strip() for text in (*headers.getlist("x-api-key"), *_tokens(headers))} - {""}
    if len(shown) > 1:
        raise NotAuthenticatedError("the request shows several credentials; send one")
    credential = next(iter(shown), None)
    if credential is not None and len(credential) > MAX_CREDENTIAL:
        raise NotAuthenticatedError(f"the credential is longer than {MAX_CREDENTIAL} characters")
    return credential


def _tokens(headers: Headers) -> Iterator[str]:
    """Those of other schemes are for somebody before us."""
    for text in headers.getlist("authorization"):
        if text.lower().startswith(_BEARER):
            yield text[len(_BEARER) :]
