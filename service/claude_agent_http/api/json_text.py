"""JSON that holds whatever an agent said, on one line for every reader."""

import json
from typing import Any

from fastapi.responses import JSONResponse

__all__ = ["ExactJSONResponse", "to_json"]

# JSON lets these stand, but clients that read streams with Python's `splitlines` end a line there.
_LINE_ENDS = {ord(end): f"\\u{ord(end):04x}" for end in "\x85\u2028\u2029"}


def to_json(value: Any) -> str:
    """One line. Lone surrogates, which UTF-8 cannot carry, and odd line ends are `\\uXXXX` escapes."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text if text.isascii() else _escaped(text)


def _escaped(text: str) -> str:
    return text.translate(_LINE_ENDS).encode("utf-8", "backslashreplace").decode()


class ExactJSONResponse(JSONResponse):
    def render(self, content: Any) -> bytes:
        return to_json(content).encode()
