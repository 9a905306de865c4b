"""What the terminal client writes and reads. Through a pipe, stdout carries the answers and nothing else."""

import json
import re
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from claude_agent_http.commands.terminal import complain

__all__ = ["Screen"]

# An answer must not drive the terminal: no escape sequences, only line breaks and tabs.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_MAX_INPUT = 200


class Screen:
    def __init__(self) -> None:
        self._answers = sys.stdout
        self._notes = Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self._terminal = sys.stdout.isatty()
        self._at_line_start = True

    def ask(self) -> str | None:
        """The next line of the user that is not blank; None at the end. Raises UnicodeDecodeError, and goes
        on behind that line when asked again."""
        while True:
            line = self._line()
            if line is None or line.strip():
                return line

    def text(self, text: str) -> None:
        shown = _CONTROL.sub("", text) if self._terminal else text
        self._answers.write(shown)
        self._answers.flush()
        if shown:
            self._at_line_start = shown.endswith("\n")

    def tool(self, name: str, given: Any) -> None:
        self.end_line()
        what = json.dumps(given, ensure_ascii=False)
        what = what if len(what) <= _MAX_INPUT else f"{what[:_MAX_INPUT]}..."
        self.note(f"[{name}] {what}")

    def note(self, text: str) -> None:
        self._notes.print(Text(_CONTROL.sub("", text), "dim"))

    def error(self, text: str) -> None:
        self.end_line()
        complain(_CONTROL.sub("", text))

    def end_line(self) -> None:
        if not self._at_line_start:
            self.text("\n")

    def _line(self) -> str | None:
        if sys.stdin.isatty():
            try:
                return input("> ")
            except EOFError:
                return None
        # Line by line also where one cannot be decoded: a text file would lose what it read ahead.
        return sys.stdin.buffer.readline().decode(sys.stdin.encoding) or None
