"""Reading a Messages request: whose turn it is, what was said and what the tools returned."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

__all__ = ["Conversation", "read_conversation", "system_text"]

_REMINDER = re.compile(r"<system-reminder>.*?</system-reminder>", re.DOTALL)
_INTERRUPTED = "[Request interrupted by user"


@dataclass(frozen=True, slots=True)
class Conversation:
    """The request as a turn: the user's last text, the replies given to it so far, and what came before.

    `tool_result` is what the tool called last in this turn returned, None before the first result;
    `owner` is the caller's `metadata.user_id`, which tells one CLI session from another.
    """

    text: str
    earlier: tuple[str, ...]
    replies: int
    tool_result: str | None
    tool_failed: bool
    tools: frozenset[str]
    owner: str


def read_conversation(body: Mapping[str, Any]) -> Conversation:
    """A turn begins at the last user text and goes on through the tool rounds that follow it."""
    messages = [message for message in body["messages"] if message["role"] != "system"]
    starts = [index for index, message in enumerate(messages) if _user_texts(message)]
    start = starts[-1] if starts else 0
    said = [text for index in starts for text in _user_texts(messages[index])]
    after = messages[start + 1 :]
    result = _last_result(after)
    return Conversation(
        text=said[-1] if said else "",
        earlier=tuple(said[:-1]),
        replies=sum(role == "assistant" for role, _ in groupby(after, key=lambda message: message["role"])),
        tool_result=None if result is None else _plain(result.get("content", "")),
        tool_failed=bool(result and result.get("is_error")),
        tools=frozenset(str(tool.get("name", "")) for tool in body.get("tools") or ()),
        owner=str((body.get("metadata") or {}).get("user_id", "")),
    )


def system_text(body: Mapping[str, Any]) -> str:
    """The system prompt as one text."""
    return _plain(body.get("system") or "")


def _user_texts(message: Mapping[str, Any]) -> list[str]:
    """What the person wrote: without reminders, interruption marks and tool results."""
    if message["role"] != "user":
        return []
    texts = (block.get("text", "") for block in _blocks(message) if _is_text(block))
    texts = (_REMINDER.sub("", text).strip() for text in texts)
    return [text for text in texts if text and not text.startswith(_INTERRUPTED)]


def _last_result(messages: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The result of the tool called last: parallel results arrive in the order in which they ended."""
    blocks = [block for message in messages for block in _blocks(message)]
    results = {str(block.get("tool_use_id")): block for block in blocks if block["type"] == "tool_result"}
    called = [str(block.get("id")) for block in blocks if block["type"] == "tool_use"]
    return next((results[use] for use in reversed(called) if use in results), None)


def _blocks(message: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _is_text(block: Mapping[str, Any]) -> bool:
    return bool(block["type"] == "text")


def _plain(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(str(block.get("text", "")) for block in content if _is_text(block))
