"""Gives each request an id, logs how it ended and whom it was about, and answers for errors that nobody
foresaw."""

import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from claude_agent_http.api.problems import unforeseen

__all__ = ["RequestLog", "is_about"]

_log = logging.getLogger(__name__)
_SANE = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_PROBES = frozenset({"/health", "/livez", "/readyz"})


def is_about(request: Request, **ids: str | None) -> None:
    """Log and audit the request with these (`session_id`, `user_id`, `turn_id`, `key_id`, `decision`), as far
    as they are known."""
    known = {name: value for name, value in ids.items() if value is not None}
    request.state.logged = {**getattr(request.state, "logged", {}), **known}


class RequestLog:
    """Every response carries `X-Request-Id`: the request's own when it is sane, else a new one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(scope, send)
        try:
            await self._app(scope, receive, answer.send)
        except Exception:
            _log.exception("a request failed", extra=answer.ids)
            if answer.status is None:
                await unforeseen(Request(scope))(scope, receive, answer.send)
        finally:
            answer.log()


class _Answer:
    """One response on its way out."""

    def __init__(self, scope: Scope, send: Send) -> None:
        given = Headers(scope=scope).get("x-request-id", "")
        self.request_id = given if _SANE.fullmatch(given) else f"req_{uuid.uuid4().hex}"
        self.status: int | None = None
        self._scope = scope
        self._send = send
        self._started = time.monotonic()
        scope.setdefault("state", {})["request_id"] = self.request_id

    @property
    def ids(self) -> dict[str, str]:
        """The request's own, and of whom it is about."""
        return {"request_id": self.request_id, **self._scope["state"].get("logged", {})}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)["X-Request-Id"] = self.request_id
        await self._send(message)

    def log(self) -> None:
        level = logging.DEBUG if self._scope["path"] in _PROBES else logging.INFO
        fields = {
            "method": self._scope["method"],
            "path": self._scope["path"][:200],
            "status": self.status,
            "milliseconds": round((time.monotonic() - self._started) * 1000, 1),
            **self.ids,
        }
        _log.log(level, "request", extra=fields)
