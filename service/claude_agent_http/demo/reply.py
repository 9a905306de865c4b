"""What the demo model says, as frozen values: a reply, or a reply with trouble on its way."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = [
    "NO_PAUSE",
    "Block",
    "Cut",
    "ErrorStatus",
    "Fault",
    "Garbage",
    "Hang",
    "Pace",
    "Reply",
    "Stall",
    "Text",
    "Thinking",
    "ToolUse",
    "Trouble",
]


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Thinking:
    text: str


@dataclass(frozen=True, slots=True)
class ToolUse:
    name: str
    input: Mapping[str, Any]


Block = Text | Thinking | ToolUse


@dataclass(frozen=True, slots=True)
class Pace:
    """Pauses in seconds: before the first token, and between tokens."""

    first: float = 0.0
    token: float = 0.0


NO_PAUSE = Pace()


@dataclass(frozen=True, slots=True)
class Reply:
    """One assistant message; token counts of None are estimated from its length."""

    blocks: tuple[Block, ...]
    stop_reason: str = "end_turn"
    pace: Pace = NO_PAUSE
    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class ErrorStatus:
    """An HTTP error instead of an answer; `retry_after` in seconds."""

    status: int
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Stall:
    """`message_start`, then silence for `seconds`, then a closed connection."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Hang:
    """Not a byte for `seconds`, then a 500."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection closes after `tokens` tokens of the reply."""

    tokens: int


@dataclass(frozen=True, slots=True)
class Garbage:
    """A 200 whose body is no event stream."""


Fault = ErrorStatus | Stall | Hang | Cut | Garbage


@dataclass(frozen=True, slots=True)
class Trouble:
    """`fault` for the first `times` requests that share `key` (None: for all), then `reply`."""

    fault: Fault
    reply: Reply
    key: str
    times: int | None = None
