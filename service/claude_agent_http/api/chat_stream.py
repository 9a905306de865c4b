"""One turn of the event log, projected to the chunks of `/chat/stream`."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from claude_agent_http.api.chat_projection import ChatProjection
from claude_agent_http.api.models import ApprovalChunk, ChatChunk
from claude_agent_http.api.outcome import failure
from claude_agent_http.domain.errors import ClaudeAgentError, StorageError
from claude_agent_http.domain.event import Event, EventType, Followed
from claude_agent_http.engine import Engine, Turn

__all__ = ["chunks"]

_SETTLE_SECONDS = 10.0
_TOLD_SECONDS = 0.1
_Items = AsyncGenerator[Followed, None]


async def chunks(
    engine: Engine, turn: Turn, seconds: float
) -> AsyncGenerator[ChatChunk | ApprovalChunk, None]:
    """The turn's text and tool uses as they come, then one `done` or `error`. `seconds` is its timeout."""
    projection = ChatProjection()
    try:
        async with aclosing(_until_idle(engine, turn)) as items:
            async for item in items:
                for chunk in projection.chunks(item):
                    yield chunk
        yield await _last(turn, seconds)
    except ClaudeAgentError as error:
        yield ChatChunk(type="error", error=str(error))


async def _until_idle(engine: Engine, turn: Turn) -> _Items:
    """What comes after the turn has begun, up to its idle, or up to the end of the session or the service.

    Raises StorageError when the turn ended and the log cannot show it.
    """
    async with aclosing(engine.follow(turn.session_id, after=turn.running_seq, deltas=True)) as items:
        while (item := await _next(engine, turn, items)) is not None:
            yield item
            if isinstance(item, Event) and item.type is EventType.STATUS_IDLE:
                return


async def _next(engine: Engine, turn: Turn, items: _Items) -> Followed | None:
    waiting = asyncio.ensure_future(anext(items, None))
    try:
        if not turn.ended.done():
            await asyncio.wait((waiting, turn.ended), return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():  # what was told to readers comes a step of the loop later; the log is far
            await asyncio.wait((waiting,), timeout=_TOLD_SECONDS)
        if not waiting.done() and not await _shows_idle(engine, turn):
            raise StorageError("the turn ended, but its last events are not stored yet; read /events later")
        return await waiting
    finally:
        if not waiting.done():
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)


async def _shows_idle(engine: Engine, turn: Turn) -> bool:
    return any(event.type is EventType.STATUS_IDLE for event in await engine.turn_events(turn))


async def _last(turn: Turn, seconds: float) -> ChatChunk:
    """How it ended; when this is out, the session takes the next message."""
    await asyncio.wait((turn.ended,), timeout=_SETTLE_SECONDS)
    if not turn.ended.done():
        return ChatChunk(type="error", error="the session ended before its turn did")
    problem = failure(turn, turn.ended.result(), seconds)
    return ChatChunk(type="done") if problem is None else ChatChunk(type="error", error=str(problem))
