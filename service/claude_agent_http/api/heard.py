"""The events of a turn, for who waits for its end: heard as they come, which costs less than reading them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager

from claude_agent_http.domain.event import Event, EventType
from claude_agent_http.engine import Engine, Turn

__all__ = ["heard"]

_TOLD_SECONDS = 0.1
# Of no use to an answer, and large.
_NOT_KEPT = frozenset({EventType.AGENT_TOOL_RESULT, EventType.AGENT_MCP_TOOL_RESULT})


@asynccontextmanager
async def heard(engine: Engine, turn: Turn) -> AsyncIterator[Callable[[], Awaitable[Sequence[Event]]]]:
    """Gives what to call when the turn has ended: then it returns all its events but its tools' results, from
    the log where not all of them came."""
    hearing = asyncio.create_task(_until_idle(engine, turn), name=f"hearing of turn {turn.id}")

    async def events() -> Sequence[Event]:
        await asyncio.wait((hearing,), timeout=_TOLD_SECONDS)  # it is a step of the loop behind the turn
        if hearing.done() and hearing.exception() is None and (all_of_them := hearing.result()) is not None:
            return all_of_them
        return await engine.turn_events(turn)

    try:
        yield events
    finally:
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)


async def _until_idle(engine: Engine, turn: Turn) -> list[Event] | None:
    """None when the session, or the service, ended before the turn did."""
    events: list[Event] = []
    async with aclosing(engine.follow(turn.session_id, after=turn.running_seq, deltas=False)) as items:
        async for item in items:
            if not isinstance(item, Event) or item.turn_id != turn.id:
                continue
            if item.type not in _NOT_KEPT:
                events.append(item)
            if item.type is EventType.STATUS_IDLE:
                return events
    return None
