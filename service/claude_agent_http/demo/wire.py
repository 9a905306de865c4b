"""A reply in Anthropic's wire format: one JSON message, or the frames of an event stream."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from claude_agent_http.demo.reply import Block, Reply, Text, Thinking, ToolUse

__all__ = ["Envelope", "Frame", "error_json", "estimate_tokens", "frames", "message_json"]

_TOKEN = re.compile(r"\s*(?:[\u3040-\u30ff\u4e00-\u9fff]{1,2}|[^\s\u3040-\u30ff\u4e00-\u9fff]+)\s*|\s+")
_SIGNATURE = "ZGVtbw=="
_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


@dataclass(frozen=True, slots=True)
class Envelope:
    """What of the request and the server stands in the answer; `id` is unique to the answer."""

    id: str
    model: str
    input_tokens: int


@dataclass(frozen=True, slots=True)
class Frame:
    """Bytes to send after a pause in seconds; `tokens` is 1 when they carry a token of the reply."""

    data: bytes
    pause: float = 0.0
    tokens: int = 0


def message_json(reply: Reply, envelope: Envelope) -> dict[str, Any]:
    """The whole message, as a call without `stream` returns it."""
    return {
        **_head(reply, envelope),
        "content": [_whole(block, envelope, index) for index, block in enumerate(reply.blocks)],
        "stop_reason": reply.stop_reason,
        "usage": _usage(reply, envelope, _output_tokens(reply)),
    }


def frames(reply: Reply, envelope: Envelope) -> Iterator[Frame]:
    """The message as server-sent events, `message_start` to `message_stop`."""
    head = {**_head(reply, envelope), "usage": _usage(reply, envelope, 1)}
    yield _frame("message_start", message=head)
    yield _frame("ping")
    pause = reply.pace.first
    for index, block in enumerate(reply.blocks):
        yield _frame("content_block_start", index=index, content_block=_empty(block, envelope, index))
        for delta in _deltas(block):
            yield _frame("content_block_delta", pause, 1, index=index, delta=delta)
            pause = reply.pace.token
        yield _frame("content_block_stop", index=index)
    ending = {"stop_reason": reply.stop_reason, "stop_sequence": None}
    yield _frame("message_delta", delta=ending, usage=_usage(reply, envelope, _output_tokens(reply)))
    yield _frame("message_stop")


def error_json(status: int, message: str) -> dict[str, Any]:
    kind = _ERROR_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": message}}


def estimate_tokens(text: str) -> int:
    """Four characters a token: near enough for a script."""
    return len(text) // 4


def _frame(event: str, pause: float = 0.0, tokens: int = 0, **fields: Any) -> Frame:
    data = json.dumps({"type": event, **fields}, ensure_ascii=False, separators=(",", ":"))
    return Frame(f"event: {event}\ndata: {data}\n\n".encode(errors="replace"), pause, tokens)


def _head(reply: Reply, envelope: Envelope) -> dict[str, Any]:
    fields = {"id": f"msg_{envelope.id}", "type": "message", "role": "assistant", "model": envelope.model}
    return {**fields, "content": [], "stop_reason": None, "stop_sequence": None}


def _usage(reply: Reply, envelope: Envelope, output_tokens: int) -> dict[str, Any]:
    given = envelope.input_tokens if reply.input_tokens is None else reply.input_tokens
    cache = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    return {"input_tokens": given, **cache, "output_tokens": output_tokens}


def _output_tokens(reply: Reply) -> int:
    if reply.output_tokens is not None:
        return reply.output_tokens
    return max(1, sum(estimate_tokens("".join(_pieces(block))) for block in reply.blocks))


def _whole(block: Block, envelope: Envelope, index: int) -> dict[str, Any]:
    match block:
        case Text(text):
            return {"type": "text", "text": text}
        case Thinking(text):
            return {"type": "thinking", "thinking": text, "signature": _SIGNATURE}
        case ToolUse(name, given):
            return {
                "type": "tool_use",
                "id": f"toolu_{envelope.id}_{index}",
                "name": name,
                "input": dict(given),
            }


def _empty(block: Block, envelope: Envelope, index: int) -> dict[str, Any]:
    whole = _whole(block, envelope, index)
    blank: Mapping[str, Any] = {"text": "", "thinking": "", "signature": "", "input": {}}
    return {key: blank.get(key, value) if key != "type" else value for key, value in whole.items()}


def _deltas(block: Block) -> Iterator[dict[str, Any]]:
    match block:
        case Text():
            yield from ({"type": "text_delta", "text": piece} for piece in _pieces(block))
        case Thinking():
            yield from ({"type": "thinking_delta", "thinking": piece} for piece in _pieces(block))
            yield {"type": "signature_delta", "signature": _SIGNATURE}
        case ToolUse():
            yield from ({"type": "input_json_delta", "partial_json": piece} for piece in _pieces(block))


def _pieces(block: Block) -> list[str]:
    if isinstance(block, ToolUse):
        text = json.dumps(dict(block.input), ensure_ascii=False)
        return [text[at : at + 64] for at in range(0, len(text), 64)]
    return _TOKEN.findall(block.text)
