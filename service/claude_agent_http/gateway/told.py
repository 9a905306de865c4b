"""What an answer tells of its tokens, read from a copy of its bytes as they pass.

Who tells nothing of them is charged all the same, or no budget would hold for a model API that leaves them
out: a token is reckoned for every four bytes that were asked or written."""

import json
from dataclasses import replace
from typing import Any, Protocol

from claude_agent_http.gateway.prices import Told

__all__ = ["Reader", "is_stream", "reader_of", "reckoned"]

_MOST_OF_A_LINE = 64 * 1024
_MOST_OF_A_MESSAGE = 8 * 1024 * 1024
_DELTA = b'"content_block_delta"'
_STOP = b'"message_stop"'
_DELTA_OVERHEAD = 100
_BYTES_A_TOKEN = 4


class Reader(Protocol):
    def feed(self, chunk: bytes) -> None: ...

    def told(self) -> Told | None:
        """None when nothing came; of an answer that broke off, what it told until then."""
        ...


def is_stream(content_type: str) -> bool:
    return content_type.startswith("text/event-stream")


def reader_of(content_type: str, asked_bytes: int) -> Reader:
    """`asked_bytes` is how long the request's body was."""
    if is_stream(content_type):
        return StreamReader(asked_bytes)
    return MessageReader(asked_bytes)


class StreamReader:
    """Of server-sent events: `message_start` tells of the input, `message_delta` of the whole so far.

    The output of a stream that is broken off before is reckoned from its deltas, or nobody would be charged
    for it. Lines that are too long to tell anything of tokens are passed over."""

    def __init__(self, asked_bytes: int) -> None:
        self._asked_bytes = asked_bytes
        self._came = False
        self._line = bytearray()
        self._is_too_long = False
        self._usage: dict[str, Any] = {}
        self._is_whole = False
        self._has_ended = False
        self._reckoned = 0

    def feed(self, chunk: bytes) -> None:
        self._came |= bool(chunk)
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            if self._line or self._is_too_long or len(line) > _MOST_OF_A_LINE:
                self._take(line)
                self._end()
            elif line:  # The most come whole, and this runs for each token of every agent.
                self._read_line(line)
        if rest:
            self._take(rest)

    def told(self) -> Told | None:
        if not self._came:
            return None
        told = _told(self._usage)
        if not self._is_whole:
            told = replace(told, output_tokens=max(told.output_tokens, self._reckoned))
        if "input_tokens" not in self._usage:
            told = replace(told, input_tokens=reckoned(self._asked_bytes), is_reckoned=self._has_ended)
        return told

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
        if not too_long:
            self._read_line(line)

    def _read_line(self, line: bytes) -> None:
        if not line.startswith(b"data:"):
            return
        if _DELTA in line[:60]:
            self._reckoned += max(1, (len(line) - _DELTA_OVERHEAD) // _BYTES_A_TOKEN)
        elif b'"usage"' in line:
            self._read(line.removeprefix(b"data:"))
        elif _STOP in line[:60]:
            self._has_ended = True

    def _read(self, data: bytes) -> None:
        match _parsed(data):
            case {"type": "message_start", "message": {"usage": dict(usage)}}:
                self._usage |= _known(usage)
            case {"type": "message_delta", "usage": dict(usage)}:
                self._usage |= _known(usage)
                self._is_whole = "output_tokens" in self._usage


class MessageReader:
    """Of one JSON message; of one that is too large to be an answer nothing is read."""

    def __init__(self, asked_bytes: int) -> None:
        self._asked_bytes = asked_bytes
        self._came_bytes = 0
        self._body = bytearray()

    def feed(self, chunk: bytes) -> None:
        self._came_bytes += len(chunk)
        if self._came_bytes <= _MOST_OF_A_MESSAGE:
            self._body += chunk

    def told(self) -> Told | None:
        if not self._came_bytes:
            return None
        match message := _parsed(bytes(self._body)):
            case {"type": "message", "usage": {"input_tokens": _, "output_tokens": _} as usage}:
                return _told(_known(usage))
        is_whole = message is not None
        return Told(reckoned(self._asked_bytes), reckoned(self._came_bytes), is_reckoned=is_whole)


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


def reckoned(size: int) -> int:
    """Tokens of so many bytes."""
    return max(1, size // _BYTES_A_TOKEN)


def _number(value: object) -> int:
    """What is no count is none: another's answer must not break ours."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else 0
