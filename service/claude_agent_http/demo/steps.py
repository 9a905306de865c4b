"""Scripted turns: a `{"script": [step, ...]}` in the user's text says what each reply of the turn is."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from claude_agent_http.demo.conversation import Conversation
from claude_agent_http.demo.reply import (
    Block,
    Cut,
    ErrorStatus,
    Fault,
    Garbage,
    Hang,
    Pace,
    Reply,
    Stall,
    Text,
    Thinking,
    ToolUse,
    Trouble,
)

__all__ = ["ScriptError", "find_script", "play_step", "without_script"]

_START = '{"script"'
_MAX_TOKENS = 1_000_000
_DONE: Mapping[str, Any] = {"text": "done"}
_SAYS = ("text", "tokens", "thinking", "tool", "input", "tools")
_FAULTS = ("status", "retry_after", "stall", "hang", "cut", "garbage", "times")
_KNOWN = frozenset([*_SAYS, *_FAULTS, "usage", "stop_reason", "first_ms", "delay_ms"])


class ScriptError(ValueError):
    """A step that means nothing; its text says which part."""


def find_script(text: str) -> Sequence[Mapping[str, Any]] | None:
    """The steps of the first script in `text`, None if there is none.

    Raises ScriptError where a script begins and is not a list of objects, or a step has an unknown key."""
    start = text.find(_START)
    if start < 0:
        return None
    steps = _decode(text, start)[0].get("script")
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise ScriptError("script must be a list of objects")
    for index, step in enumerate(steps):
        if unknown := sorted(step.keys() - _KNOWN):
            raise ScriptError(
                f"step {index}: unknown {', '.join(unknown)}; known: {', '.join(sorted(_KNOWN))}"
            )
    return steps


def without_script(text: str) -> str:
    """What stands round the script, "(script)" if nothing does."""
    start = text.find(_START)
    if start < 0:
        return text
    try:
        end = _decode(text, start)[1]
    except ScriptError:
        return text
    return f"{text[:start]}{text[end:]}".strip() or "(script)"


def play_step(steps: Sequence[Mapping[str, Any]], conversation: Conversation) -> Reply | Trouble:
    """The step that this request of the turn asks for; "done" once they are used up."""
    index = conversation.replies
    step = steps[index] if index < len(steps) else _DONE
    try:
        reply, fault = _reply(step, conversation), _fault(step)
        times = None if step.get("times") is None else int(step["times"])
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise ScriptError(f"step {index}: {error!r}") from error
    return reply if fault is None else Trouble(fault, reply, _key(conversation), times)


def _decode(text: str, start: int) -> tuple[Mapping[str, Any], int]:
    try:
        return json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError) as error:
        raise ScriptError(f"script is not JSON: {error}") from error


def _reply(step: Mapping[str, Any], conversation: Conversation) -> Reply:
    blocks = tuple(_blocks(step, conversation))
    usage = step.get("usage") or {}
    used_tools = any(isinstance(block, ToolUse) for block in blocks)
    return Reply(
        blocks,
        stop_reason=str(step.get("stop_reason") or ("tool_use" if used_tools else "end_turn")),
        pace=Pace(_seconds(step, "first_ms"), _seconds(step, "delay_ms")),
        input_tokens=usage.get("input_tokens"),
        output_tokens=usage.get("output_tokens"),
    )


def _blocks(step: Mapping[str, Any], conversation: Conversation) -> list[Block]:
    blocks: list[Block] = []
    if "thinking" in step:
        blocks.append(Thinking(str(step["thinking"])))
    tools = [step] if "tool" in step else step.get("tools", [])
    if text := _text(step, conversation):
        blocks.append(Text(text))
    blocks.extend(ToolUse(str(tool["tool"]), dict(tool.get("input", {}))) for tool in tools)
    return blocks if any(not isinstance(block, Thinking) for block in blocks) else [*blocks, Text("done")]


def _text(step: Mapping[str, Any], conversation: Conversation) -> str:
    if "text" not in step:
        count = min(int(step.get("tokens", 0)), _MAX_TOKENS)
        return " ".join(f"tok{number}" for number in range(count))
    text = str(step["text"])
    if "{{history}}" in text:
        earlier = [without_script(said) for said in conversation.earlier]
        text = text.replace("{{history}}", json.dumps(earlier, ensure_ascii=False))
    return text.replace("{{tool_result}}", conversation.tool_result or "")


def _fault(step: Mapping[str, Any]) -> Fault | None:
    match step:
        case {"status": status}:
            retry_after = step.get("retry_after")
            return ErrorStatus(_error_status(status), None if retry_after is None else float(retry_after))
        case {"stall": seconds}:
            return Stall(float(seconds))
        case {"hang": seconds}:
            return Hang(float(seconds))
        case {"cut": tokens}:
            return Cut(int(tokens))
        case {"garbage": wanted} if wanted:
            return Garbage()
    return None


def _error_status(value: Any) -> int:
    if not 400 <= int(value) <= 599:
        raise ValueError("status must be 400 to 599")
    return int(value)


def _seconds(step: Mapping[str, Any], name: str) -> float:
    return float(step.get(name, 0)) / 1000


def _key(conversation: Conversation) -> str:
    """Names one step of one turn of one session, so that its retries are counted together."""
    place = (conversation.owner, len(conversation.earlier), conversation.replies, conversation.text)
    return hashlib.sha256(repr(place).encode()).hexdigest()
