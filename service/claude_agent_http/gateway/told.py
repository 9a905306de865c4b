"""What an answer tells of its tokens, read from a copy of its bytes as they pass."""

import json
from typing import Any, Protocol

from claude_agent_http.gateway.prices import Told

__all__ = ["Reader", "reader_of"]

_MOST_OF_A_LINE = 64 * 1024
_MOST_OF_A_MESSAGE = 8 * 1024 * 1024
_DELTA = b'"content_block_delta"'
_DELTA_OVERHEAD = 100
_BYTES_A_TOKEN = 4


class Reader(Protocol):
    def feed(self, chunk: bytes) -> None: ...

    def told(self) -> Told | None:
        """None when nothing was told; of an answer that broke off, what it told until then."""
        ...


def reader_of(content_type: str) -> Reader:
    return StreamReader() if content_type.startswith("text/event-stream") else MessageReader()


class StreamReader:
    """Of server-sent events: `message_start` tells of the input, `message_delta` of the whole so far.

    The output of a stream that is broken off before is reckoned from its deltas, or nobody would be charged
    for it. Lines that are too long to tell anything of tokens are passed over."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._is_too_long = False
        self._usage: dict[str, Any] | None = None
        self._is_whole = False
        self._reckoned = 0

    def feed(self, chunk: bytes) -> None:
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            self._take(line)
            self._end()
        self._take(rest)

    def told(self) -> Told | None:
        if self._usage is None:
            return None
        usage = self._usage
        if not self._is_whole:
            usage = usage | {"output_tokens": max(_number(usage.get("output_tokens")), self._reckoned)}
        return _told(usage)

    def _take(self, part: bytes) -> None:
        self._line += part
        if self._is_too_long or len(self._line) > _MOST_OF_A_LINE:
            self._is_too_long = True
            self._reckoned += len(self._line) // _BYTES_A_TOKEN
            self._line.clear()

    def _end(self) -> None:
        line, too_long = bytes(self._line), self._is_too_long
        self._line.clear()
        self._is_too_long = False
        if too_long or not line.startswith(b"data:"):
            return
        if _DELTA in line[:60]:
            self._reckoned += max(1, (len(line) - _DELTA_OVERHEAD) // _BYTES_A_TOKEN)
        elif b'"usage"' in line:
            self._read(line.removeprefix(b"data:"))

    def _read(self, data: bytes) -> None:
        match _parsed(data):
            case {"type": "message_start", "message": {"usage": dict(usage)}}:
                self._usage = (self._usage or {}) | _known(usage)
            case {"type": "message_delta", "usage": dict(usage)}:
                self._usage = (self._usage or {}) | _known(usage)
                self._is_whole = True


class MessageReader:
    """Of one JSON message; one that is too large to be an answer tells nothing."""

    def __init__(self) -> None:
        self._body = bytearray()
        self._is_too_large = False

    def feed(self, chunk: bytes) -> None:
        self._is_too_large |= len(self._body) + len(chunk) > _MOST_OF_A_MESSAGE
        if not self._is_too_large:
            self._body += chunk

    def told(self) -> Told | None:
        match _parsed(bytes(self._body)):
            case {"type": "message", "usage": dict(usage)}:
                return _told(_known(usage))
        return None


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _known(usage: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in usage.items() if value is not None}


def _told(usage: dict[str, Any]) -> Told:
    created = usage.get("cache_creation")
    hour = created.get("ephemeral_1h_input_tokens") if isinstance(created, dict) else 0
    return Told(
        _number(usage.get("input_tokens")),
        _number(usage.get("output_tokens")),
        _number(usage.get("cache_read_input_tokens")),
        _number(usage.get("cache_creation_input_tokens")),
        _number(hour),
    )


def _number(value: object) -> int:
    """What is no count is none: another's answer must not break ours."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else 0
