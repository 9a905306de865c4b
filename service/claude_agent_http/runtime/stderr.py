"""The last lines that a CLI wrote to its standard error, without the credentials it was given."""

from collections import deque
from collections.abc import Collection

__all__ = ["StderrTail"]

_MAX_LINES = 40
_MAX_LINE = 500
_SHOWN = 5


class StderrTail:
    def __init__(self, secrets: Collection[str]) -> None:
        self._secrets = sorted(secrets, key=len, reverse=True)
        self._lines: deque[str] = deque(maxlen=_MAX_LINES)

    def add(self, line: str) -> None:
        self._lines.append(self.redact(line)[:_MAX_LINE])

    def redact(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "[redacted]")
        return text

    def appended_to(self, message: str) -> str:
        """`message` with the last lines behind it, if there are any."""
        last = list(self._lines)[-_SHOWN:]
        return self.redact(message) if not last else f"{self.redact(message)}; it wrote: {' | '.join(last)}"
