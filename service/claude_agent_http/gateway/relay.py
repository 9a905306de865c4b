"""One request of an agent to the model API, and the answer on its way back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import anyio
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from claude_agent_http.domain.errors import StorageError
from claude_agent_http.domain.turn import ErrorKind
from claude_agent_http.gateway.asked import Asked, BadRequestError, asked_for
from claude_agent_http.gateway.bodies import Bodies
from claude_agent_http.gateway.client import UpstreamAnswer, UpstreamClient
from claude_agent_http.gateway.failed import UpstreamError
from claude_agent_http.gateway.failure import failure
from claude_agent_http.gateway.grants import Grant, Grants, TooManyAtOnceError
from claude_agent_http.gateway.headers import from_upstream, to_upstream, tokens_in
from claude_agent_http.gateway.meter import Meter
from claude_agent_http.gateway.rules import Rules
from claude_agent_http.gateway.upstream import Upstream, UpstreamSource, UpstreamUnknownError

__all__ = ["MESSAGES", "Relay"]

MESSAGES = "/v1/messages"
_MAX_ERROR_BODY = 256 * 1024
_log = structlog.get_logger(__name__)


class Relay:
    """Waits for an agent that does not read as long as its server does, which cuts it off."""

    def __init__(
        self,
        grants: Grants,
        rules: Rules,
        source: UpstreamSource,
        client: UpstreamClient,
    ) -> None:
        self._grants = grants
        self._rules = rules
        self._source = source
        self._client = client
        self._bodies = Bodies()

    def to(self, path: str) -> ASGIApp:
        """An app that relays to this path, whatever it was asked at."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await self._handle(path, Request(scope, receive), send)

        return _App(app)

    async def _handle(self, path: str, request: Request, send: Send) -> None:
        grant = self._grants.of(tokens_in(request.scope["headers"]))
        if grant is None:
            answer = failure(401, "this is no token of a live session of claude-agent-http")
            await answer(request.scope, request.receive, send)
            return
        async with anyio.create_task_group() as group:
            try:
                with grant.request(group.cancel_scope):
                    await self._watched(path, request, send, grant, group)
            except TooManyAtOnceError:
                answer = failure(429, "the agent has too many requests under way at once", retry_after=1)
                await answer(request.scope, request.receive, send)

    async def _watched(
        self, path: str, request: Request, send: Send, grant: Grant, group: anyio.abc.TaskGroup
    ) -> None:
        """Ends at once when the agent goes away, and the call to the model API with it."""
        with self._bodies.room(grant) as room:
            try:
                body = await room.read(request)
            except ClientDisconnect:
                return
            except HTTPException as error:
                await failure(error.status_code, error.detail)(request.scope, request.receive, send)
                return
            await self._answered(path, request, send, grant, group, body)

    async def _answered(
        self,
        path: str,
        request: Request,
        send: Send,
        grant: Grant,
        group: anyio.abc.TaskGroup,
        body: bytes,
    ) -> None:
        group.start_soon(_cancel_when_gone, request.receive, group.cancel_scope)
        answer = _Answer(send)
        try:
            asked = await self._admitted(path, grant, body)
        except _NotAdmitted as refused:
            await answer.give(refused.response)
        else:
            await self._relay(path, request, answer, grant, asked, body)
        group.cancel_scope.cancel()

    async def _admitted(self, path: str, grant: Grant, body: bytes) -> Asked:
        """Raises _NotAdmitted."""
        try:
            asked = asked_for(body)
            refusal = self._rules.model_refusal(asked.model)
            if refusal is None and path == MESSAGES:
                refusal = await self._rules.budget_refusal(grant)
        except BadRequestError as error:
            raise _NotAdmitted(failure(400, str(error))) from None
        except StorageError as error:
            raise _NotAdmitted(failure(503, f"what was spent so far is not known: {error}")) from None
        if refusal is None:
            return asked
        grant.refusal = refusal
        status = 403 if refusal.kind is ErrorKind.MODEL_NOT_ALLOWED else 402
        raise _NotAdmitted(failure(status, refusal.message, retries=False))

    async def _relay(
        self, path: str, request: Request, answer: "_Answer", grant: Grant, asked: Asked, body: bytes
    ) -> None:
        try:
            upstream = self._source()
            with self._meter(path, grant, asked) as meter:
                asking = self._client.post(
                    upstream,
                    path,
                    request.scope["query_string"],
                    to_upstream(request.scope["headers"]),
                    body,
                )
                async with asking as received:
                    if received.status >= 300:
                        meter.costs_nothing()
                        await answer.give(await _unhappy(received, upstream))
                        return
                    meter.answered(received.content_type)
                    await _pass_on(received, answer, meter.feed)
        except UpstreamUnknownError as error:
            _tell(grant, "credential", str(error))
            await answer.give(failure(503, f"the model API cannot be asked: {error}"))
        except UpstreamError as error:
            _tell(grant, error.reason, str(error))
            # What has begun cannot be taken back: the connection ends before the answer, as upstream's did.
            if not answer.begun:
                await answer.give(failure(error.status, str(error)))

    def _meter(self, path: str, grant: Grant, asked: Asked) -> Meter:
        """Only messages cost anything."""
        meter = Meter(self._rules, grant, asked)
        if path != MESSAGES:
            meter.costs_nothing()
        return meter


class _NotAdmitted(Exception):
    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


async def _pass_on(received: UpstreamAnswer, answer: "_Answer", read: Callable[[bytes], None]) -> None:
    await answer.begin(received.status, from_upstream(received.headers))
    while chunk := await received.read():
        try:
            await answer.write(chunk)
        finally:  # Behind the writing, so that no byte waits for it.
            read(chunk)
    await answer.end()


async def _unhappy(received: UpstreamAnswer, upstream: Upstream) -> Response:
    """The model API's own words, without the credential that some repeat."""
    if received.is_redirect:
        message = f"the model API at {upstream.address} answers with a redirect, which is not followed"
        return failure(502, f"{message}; set model.base_url to where it leads", retries=False)
    body = bytearray()
    while chunk := await received.read():
        body += chunk
        if len(body) > _MAX_ERROR_BODY:
            return failure(received.status, "the model API's error is too long to be passed on")
    response = Response(upstream.redacted(bytes(body)), received.status)
    response.raw_headers += from_upstream(received.headers)
    return response


@dataclass(slots=True)
class _Answer:
    """What goes back to the agent."""

    _send: Send
    begun: bool = False

    async def begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.begun = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, chunk: bytes) -> None:
        await self._send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def give(self, response: Response) -> None:
        """A whole answer."""
        await self.begin(response.status_code, response.raw_headers)
        await self._send({"type": "http.response.body", "body": response.body, "more_body": False})


class _App:
    """Starlette takes a function for an endpoint that returns a response; this is an app."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


async def _cancel_when_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def _tell(grant: Grant, reason: str, message: str) -> None:
    whom: Mapping[str, str] = {"session_id": grant.session_id, "user_id": grant.user_id}
    _log.warning("a model request failed", reason=reason, detail=message, **whom)
