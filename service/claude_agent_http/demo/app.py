"""The demo model as an ASGI app: Messages, token counts, a health probe and a look at what was asked."""

import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from claude_agent_http.demo.journal import FaultCounter, Journal, seen_request
from claude_agent_http.demo.playback import EventStream, Silence
from claude_agent_http.demo.reply import Cut, ErrorStatus, Fault, Garbage, Hang, Pace, Reply, Stall, Trouble
from claude_agent_http.demo.schema import InvalidRequestError, check_count_request, check_request
from claude_agent_http.demo.script import ScriptError, answer
from claude_agent_http.demo.wire import Envelope, Frame, error_json, estimate_tokens, frames, message_json

__all__ = ["create_demo_model"]

_MAX_BODY = 32 * 1024 * 1024
_GARBAGE = b"\x00\xff{{{ this is no event stream \xfe\xff\n" * 8


def create_demo_model(
    *, token_seconds: float = 0.01, new_id: Callable[[], str] = lambda: f"demo{secrets.token_hex(10)}"
) -> Starlette:
    """The app, with its own state; `token_seconds` is the pause between tokens for people, not scripts."""
    model = _DemoModel(Pace(token=token_seconds), new_id)
    routes = [
        Route("/v1/messages", model.messages, methods=["POST"]),
        Route("/v1/messages/count_tokens", model.count_tokens, methods=["POST"]),
        Route("/healthz", model.health),
        Route("/_demo/requests", model.requests),
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: _http_error})


class _DemoModel:
    def __init__(self, talk_pace: Pace, new_id: Callable[[], str]) -> None:
        self._talk_pace = talk_pace
        self._new_id = new_id
        self._journal = Journal()
        self._faults = FaultCounter()

    async def messages(self, request: Request) -> ASGIApp:
        try:
            body, size = await _read_json(request)
            check_request(body)
            said = answer(body, self._talk_pace)
        except (InvalidRequestError, ScriptError) as error:
            return _error(400, str(error))
        reply, fault = self._outcome(said)
        status = fault.status if isinstance(fault, ErrorStatus) else 500 if isinstance(fault, Hang) else 200
        self._journal.add(seen_request(body, _auth_kind(request), status))
        envelope = Envelope(self._new_id(), body["model"], max(1, size // 4))
        streams = body.get("stream", False)
        return _play(reply, envelope, streams) if fault is None else _misbehave(fault, reply, envelope)

    async def count_tokens(self, request: Request) -> Response:
        try:
            body, _ = await _read_json(request)
            text = json.dumps(check_count_request(body))
        except InvalidRequestError as error:
            return _error(400, str(error))
        return JSONResponse({"input_tokens": max(1, estimate_tokens(text))})

    async def health(self, _request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def requests(self, _request: Request) -> Response:
        return JSONResponse(self._journal.as_json())

    def _outcome(self, said: Reply | Trouble) -> tuple[Reply, Fault | None]:
        if isinstance(said, Reply):
            return said, None
        fails = self._faults.still_fails(said.key, said.times)
        return said.reply, said.fault if fails else None


def _play(reply: Reply, envelope: Envelope, streams: bool) -> ASGIApp:
    if streams:
        return EventStream(frames(reply, envelope))
    return JSONResponse(message_json(reply, envelope))


def _misbehave(fault: Fault, reply: Reply, envelope: Envelope) -> ASGIApp:
    match fault:
        case ErrorStatus(status, retry_after):
            headers = {} if retry_after is None else {"retry-after": f"{retry_after:g}"}
            return _error(status, "the script asked for this error", headers)
        case Hang(seconds):
            return Silence(seconds)
        case Stall(seconds):
            silence = Frame(b"", pause=seconds)
            return EventStream([next(frames(reply, envelope)), silence], complete=False)
        case Cut(tokens):
            return EventStream(_first_tokens(reply, envelope, tokens), complete=False)
        case Garbage():
            return EventStream([Frame(_GARBAGE)])


def _first_tokens(reply: Reply, envelope: Envelope, tokens: int) -> Iterator[Frame]:
    sent = 0
    for frame in frames(reply, envelope):
        if frame.tokens and sent >= tokens:
            return
        sent += frame.tokens
        yield frame


async def _read_json(request: Request) -> tuple[Any, int]:
    """The decoded body and its size in bytes; 413 past 32 MB, InvalidRequestError when it is no JSON."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MAX_BODY:
                raise HTTPException(413, "Request exceeds the maximum size of 32 MB")
        return json.loads(body), len(body)
    except ClientDisconnect as error:
        raise InvalidRequestError("the client went away") from error
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError("body: is not valid JSON") from error


def _auth_kind(request: Request) -> str:
    if "x-api-key" in request.headers:
        return "x-api-key"
    return "bearer" if request.headers.get("authorization", "").lower().startswith("bearer ") else "none"


def _http_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        return _error(500, "internal error")
    return _error(error.status_code, error.detail)


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse(error_json(status, message), status, headers=dict(headers or {}))
