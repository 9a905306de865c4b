"""What one request costs, however it ends."""

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from claude_agent_http.gateway.asked import Asked
from claude_agent_http.gateway.grants import Grant
from claude_agent_http.gateway.prices import Told
from claude_agent_http.gateway.rules import Rules
from claude_agent_http.gateway.told import Reader, is_stream, reader_of, reckoned

__all__ = ["Meter"]


class Meter(AbstractContextManager["Meter"]):
    """`with` it round the asking. `answered` begins the reading; who is refused, or cannot be answered, is
    charged nothing.

    An agent that goes away is: the model API has read what was sent, and writes an answer that was not to be
    streamed to its end. Of such an answer nobody here will know the length, so it counts as what was allowed.
    """

    def __init__(self, rules: Rules, grant: Grant, asked: Asked) -> None:
        self._rules = rules
        self._grant = grant
        self._asked = asked
        self._reader: Reader | None = None
        self._streams = asked.streams
        self._is_free = False

    def answered(self, content_type: str) -> None:
        self._reader = reader_of(content_type, self._asked.size)
        self._streams |= is_stream(content_type)

    def costs_nothing(self) -> None:
        """Whatever is read: the answer is an error, or nothing was to be written."""
        self._is_free = True

    def feed(self, chunk: bytes) -> None:
        if self._reader is not None:
            self._reader.feed(chunk)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_free:
            return
        told = None if self._reader is None else self._reader.told()
        is_abandoned = error is not None and not isinstance(error, Exception)
        if is_abandoned and (told is None or not self._streams):
            told = Told(reckoned(self._asked.size), 0 if self._streams else self._asked.max_tokens)
        if told is not None:
            self._rules.used(self._grant, self._asked.model, told)
