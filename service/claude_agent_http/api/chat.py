"""Send a message and get the answer, whole or as it is written."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from fastapi import APIRouter, Depends, Request, Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from claude_agent_http.api.access import OWNER, CurrentCaller, check_session
from claude_agent_http.api.chat_stream import chunks
from claude_agent_http.api.heard import heard
from claude_agent_http.api.json_text import ExactJSONResponse, to_json
from claude_agent_http.api.models import ApprovalChunk, ChatChunk, ChatRequest, ChatResponse
from claude_agent_http.api.openapi import documented, event_stream
from claude_agent_http.api.outcome import answered, stop_reason
from claude_agent_http.api.parts import CurrentEngine, json_only, known_form
from claude_agent_http.api.request_log import is_about
from claude_agent_http.api.sse import KEEP_ALIVE, LINE_END
from claude_agent_http.domain.caller import Caller
from claude_agent_http.engine import Engine, Turn

router = APIRouter(prefix="/api/v1/chat", tags=["chat"], dependencies=[OWNER, Depends(json_only)])

_STOP_REASON = {
    "headers": {
        "X-Stop-Reason": {
            "description": (
                "Why the turn ended: end_turn, refusal, budget_reached, max_turns_reached, interrupted."
            ),
            "schema": {"type": "string"},
        }
    }
}
_EXAMPLE = (
    'data: {"type":"text_delta","text":"Hel","tool_name":null,"tool_input":null,"error":null}\n\n'
    'data: {"type":"done","text":null,"tool_name":null,"tool_input":null,"error":null}\n\n'
)


@router.post(
    "",
    summary="Chat",
    response_class=ExactJSONResponse,
    responses={200: _STOP_REASON, **documented(402, 404, 409, 429, 502, 504, 507, body=True)},
)
async def chat(
    body: ChatRequest, caller: CurrentCaller, engine: CurrentEngine, request: Request, response: Response
) -> ChatResponse:
    """Waits for the whole answer. A turn that was cut short by `max_turns`, the budget or an interrupt is
    answered with what there is; the header `X-Stop-Reason` tells."""
    turn = await _send(body, caller, engine, request)
    async with heard(engine, turn) as events:
        end = await engine.wait(turn, body.timeout)
        response.headers["X-Stop-Reason"] = stop_reason(end)
        return answered(turn, end, await events())


@router.post(
    "/stream",
    summary="Chat, streamed",
    response_class=Response,
    responses={
        **event_stream(
            "The answer as it is written, one JSON object a `data:` line.", _EXAMPLE, ChatChunk, ApprovalChunk
        ),
        **documented(402, 404, 409, 429, 504, 507, body=True),
    },
)
async def stream(
    body: ChatRequest, caller: CurrentCaller, engine: CurrentEngine, request: Request
) -> EventSourceResponse:
    """Tokens as they come, then `done` or `error`. Who goes away does not end the turn: its events are in
    the log, and `/interrupt` ends it.

    When the model's stream breaks and is asked for again, only what goes beyond the text that was sent is
    sent; where the model says something else now, it is sent whole, behind an empty line.
    """
    turn = await _send(body, caller, engine, request)
    return EventSourceResponse(_lines(engine, turn, body.timeout), **KEEP_ALIVE)


async def _send(body: ChatRequest, caller: Caller, engine: Engine, request: Request) -> Turn:
    session_id = known_form(body.session_id)
    is_about(request, session_id=session_id)
    is_about(request, user_id=await check_session(caller, engine, session_id))
    turn = await engine.send(session_id, body.message, body.timeout)
    is_about(request, user_id=turn.user_id, turn_id=turn.id)
    return turn


async def _lines(engine: Engine, turn: Turn, seconds: float) -> AsyncIterator[ServerSentEvent]:
    async with aclosing(chunks(engine, turn, seconds)) as parts:
        async for chunk in parts:
            yield ServerSentEvent(to_json(dict(chunk)), sep=LINE_END)
