"""From the SDK's messages to the service's events: the whole knowledge of what a CLI says. No I/O."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from claude_agent_sdk import (
    AssistantMessage,
    ContentBlock,
    Message,
    ResultMessage,
    ServerToolResultBlock,
    ServerToolUseBlock,
    StreamEvent,
    SystemMessage,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    UserMessage,
)

from claude_agent_http.domain import vocabulary
from claude_agent_http.domain.event import Delta, EventType, Withdrawn
from claude_agent_http.domain.turn import Usage
from claude_agent_http.ports import Ids, RuntimeItem
from claude_agent_http.runtime.endings import api_error, turn_end
from claude_agent_http.runtime.endings import usage as usage_of

__all__ = ["Prompt", "TurnTranslator"]

_DELTAS = {"text_delta": "text", "thinking_delta": "thinking"}
_STREAMED = {"text": EventType.AGENT_MESSAGE, "thinking": EventType.AGENT_THINKING}


@dataclass(frozen=True, slots=True)
class Prompt:
    """`uuid` is how the CLI names the user's message; `cost_before` what the CLI had spent before, in USD."""

    session_id: str
    turn_id: str
    uuid: str
    cost_before: float = 0.0


@dataclass(slots=True)
class _OpenBlock:
    event_id: str
    type: EventType
    text: str = ""


@dataclass(slots=True)
class _OpenRequest:
    event_id: str
    usage: dict[str, Any]
    finished: bool = False


class TurnTranslator:
    """Reads the messages of one turn in order; `feed` gives nothing for those before it begins."""

    def __init__(self, ids: Ids, prompt: Prompt) -> None:
        self._ids = ids
        self._prompt = prompt
        self._began = False
        self._model = ""
        self._message_id: str | None = None
        self._blocks: dict[int, _OpenBlock] = {}
        self._request: _OpenRequest | None = None
        self._mcp_uses: set[str] = set()
        self._failure: AssistantMessage | None = None

    def feed(self, message: Message) -> Iterator[RuntimeItem]:
        """Also counts what an injected turn says once our prompt was taken into it."""
        self._began = self._began or self._prompt.uuid in _user_messages(message)
        if isinstance(message, SystemMessage) and message.subtype == "init":
            self._model = str(message.data.get("model", ""))
        match message:
            case _ if not self._began and not isinstance(message, ResultMessage):
                return
            case StreamEvent(parent_tool_use_id=None, event=event):
                yield from self._stream(event)
            case AssistantMessage():
                yield from self._assistant(message)
            case UserMessage(content=list(blocks), parent_tool_use_id=parent):
                yield from self._results(blocks, parent)
            case SystemMessage(subtype="status", data={"status": "requesting"}):
                yield from self._open_request(self._model)
            case SystemMessage(subtype="api_retry") if self._request is None:
                yield from self._withdraw()
            case SystemMessage(subtype="compact_boundary"):
                yield vocabulary.context_compacted(self._ids.event_id(), self._prompt.turn_id)
            case ResultMessage():
                yield from self._result(message)

    def _stream(self, event: dict[str, Any]) -> Iterator[RuntimeItem]:
        match event:
            case {"type": "message_start", "message": start}:
                yield from self._withdraw()
                self._message_id = start.get("id")
                yield from self._open_request(str(start.get("model") or self._model))
                self._count(start.get("usage"))
            case {"type": "content_block_start", "index": index, "content_block": {"type": kind}} if (
                kind in _STREAMED
            ):
                self._blocks[index] = _OpenBlock(self._ids.event_id(), _STREAMED[kind])
            case {"type": "content_block_delta", "index": index, "delta": delta} if index in self._blocks:
                yield from self._delta(self._blocks[index], delta)
            case {"type": "message_delta"}:
                self._count(event.get("usage"), finished=bool((event.get("delta") or {}).get("stop_reason")))
            case {"type": "message_stop"}:
                yield from self._close_request()

    def _delta(self, block: _OpenBlock, delta: dict[str, Any]) -> Iterator[RuntimeItem]:
        text = delta.get(_DELTAS.get(delta.get("type", ""), ""), "")
        if text:
            yield Delta(self._prompt.session_id, block.event_id, block.type, len(block.text), text)
            block.text += text

    def _assistant(self, message: AssistantMessage) -> Iterator[RuntimeItem]:
        if message.error is not None and message.parent_tool_use_id is None:
            self._failure = message  # "API Error: ..." is not what the agent said; the result tells the rest.
            return
        if message.parent_tool_use_id is None and message.message_id != self._message_id:
            yield from self._withdraw()  # A cut stream may be asked for again without streaming.
        for block in message.content:
            yield from self._block(block, message)

    def _block(self, block: ContentBlock, message: AssistantMessage) -> Iterator[RuntimeItem]:
        turn_id, parent = self._prompt.turn_id, message.parent_tool_use_id
        match block:
            case TextBlock(text=text) if text:
                yield vocabulary.agent_message(
                    self._id_of(EventType.AGENT_MESSAGE, message), turn_id, text, parent
                )
            case ThinkingBlock(thinking=text) if text:
                yield vocabulary.agent_thinking(
                    self._id_of(EventType.AGENT_THINKING, message), turn_id, text, parent
                )
            case (
                ToolUseBlock(id=use, name=name, input=given)
                | ServerToolUseBlock(id=use, name=name, input=given)
            ):
                event = vocabulary.agent_tool_use(
                    self._ids.event_id(), turn_id, use, str(name), given, parent
                )
                if event.type is EventType.AGENT_MCP_TOOL_USE:
                    self._mcp_uses.add(use)
                yield event
            case ToolResultBlock() | ServerToolResultBlock():
                yield from self._results([block], parent)

    def _id_of(self, kind: EventType, message: AssistantMessage) -> str:
        """The id that the deltas of this block bore: a streamed message's blocks come whole in order."""
        if message.parent_tool_use_id is None and message.message_id == self._message_id:
            for index in sorted(self._blocks):
                if self._blocks[index].type is kind:
                    return self._blocks.pop(index).event_id
        return self._ids.event_id()

    def _results(self, blocks: list[ContentBlock], parent: str | None) -> Iterator[RuntimeItem]:
        for block in blocks:
            if isinstance(block, ToolResultBlock | ServerToolResultBlock):
                yield vocabulary.agent_tool_result(
                    self._ids.event_id(),
                    self._prompt.turn_id,
                    block.tool_use_id,
                    _content(block.content),
                    is_error=bool(getattr(block, "is_error", False)),
                    mcp=block.tool_use_id in self._mcp_uses,
                    parent=parent,
                )

    def _open_request(self, model: str) -> Iterator[RuntimeItem]:
        if self._request is None:
            self._request = _OpenRequest(self._ids.event_id(), {})
            yield vocabulary.model_request_start(self._request.event_id, self._prompt.turn_id, model)

    def _count(self, usage: dict[str, Any] | None, *, finished: bool = False) -> None:
        if self._request is not None:
            self._request.usage |= {name: value for name, value in (usage or {}).items() if value is not None}
            self._request.finished = self._request.finished or finished

    def _close_request(self) -> Iterator[RuntimeItem]:
        request, self._request = self._request, None
        if request is not None:
            yield vocabulary.model_request_end(
                self._ids.event_id(),
                self._prompt.turn_id,
                request.event_id,
                usage_of(request.usage) or Usage(),
                is_error=not request.finished,
            )

    def _result(self, message: ResultMessage) -> Iterator[RuntimeItem]:
        if not self._is_ours(message):
            return
        end = turn_end(message, api_error(message, self._failure), self._prompt.cost_before)
        if end.interrupted:
            yield from self._unfinished()
        yield from self._withdraw()
        yield from self._close_request()
        yield end

    def _unfinished(self) -> Iterator[RuntimeItem]:
        """What was already streamed when the interrupt came: the reader saw it, so the log keeps it."""
        for _, block in sorted(self._blocks.items()):
            build = (
                vocabulary.agent_message
                if block.type is EventType.AGENT_MESSAGE
                else vocabulary.agent_thinking
            )
            if block.text:
                yield build(block.event_id, self._prompt.turn_id, block.text)
        self._blocks = {}

    def _withdraw(self) -> Iterator[RuntimeItem]:
        """What was streamed and never came whole, for its stream was cut, was not said. Called when that is
        sure, not at the cut itself: a stream that is interrupted ends in the same way."""
        for _, block in sorted(self._blocks.items()):
            if block.text:
                yield Withdrawn(self._prompt.session_id, block.event_id)
        self._blocks = {}

    def _is_ours(self, message: ResultMessage) -> bool:
        """A result of an injected turn (a background task that finished, say) must not end ours."""
        named = _user_messages(message)
        return self._prompt.uuid in named if named else self._began or message.origin is None


def _user_messages(message: Message) -> frozenset[str]:
    """The uuids of the prompts that a message says it answers."""
    source: Any = (
        message.data.get if isinstance(message, SystemMessage) else lambda name: getattr(message, name, None)
    )
    one, many = source("user_message_uuid"), source("user_message_uuids")
    return frozenset([*([one] if one else ()), *(many or ())])


def _content(content: Any) -> vocabulary.Content:
    """A tool's result as content blocks, whatever form it was given in."""
    if content is None:
        return []
    if isinstance(content, list):
        return [
            block if isinstance(block, dict) else {"type": "text", "text": str(block)} for block in content
        ]
    return vocabulary.text_content(content if isinstance(content, str) else str(content))
