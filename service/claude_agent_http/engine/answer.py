"""The chat API's answer, as a query of a turn's events."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from claude_agent_http.domain.event import TOOL_USES, Event, EventType
from claude_agent_http.domain.turn import ToolCall
from claude_agent_http.domain.vocabulary import text_of, tool_name


@dataclass(frozen=True, slots=True)
class Answer:
    text: str
    tool_calls: tuple[ToolCall, ...]
    timestamp: datetime


def answer(events: Iterable[Event], default_time: datetime) -> Answer:
    """The agent's own messages of one turn, an empty line between two, and its tool uses. Subagents' words
    are left out, and what was said before the turn was run again."""
    texts: list[str] = []
    calls: list[ToolCall] = []
    last = default_time
    for event in events:
        last = event.processed_at
        if event.type is EventType.STATUS_RESCHEDULED:
            texts, calls = [], []
        if event.data.get("parent_tool_use_id") is not None:
            continue
        if event.type is EventType.AGENT_MESSAGE:
            texts.append(text_of(event.data))
        elif event.type in TOOL_USES:
            calls.append(ToolCall(tool_name(event.data), event.data["input"]))
    return Answer("\n\n".join(filter(None, texts)), tuple(calls), last)
