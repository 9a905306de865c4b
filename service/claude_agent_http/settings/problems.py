"""What is wrong with the configuration, said so that the reader can mend it."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic_core import ErrorDetails

__all__ = ["Problem", "SettingsError", "describe", "nearest"]

_SENTENCES = {
    "missing": "is missing",
    "string_type": "should be text; put it in quotes",
    "string_sub_type": "should be text; put it in quotes",
    "path_type": "should be a path",
    "union_tag_not_found": "needs a type: stdio, sse or http",
    "union_tag_invalid": "should have the type stdio, sse or http",
    "model_attributes_type": "should be a mapping of keys to values",
    "model_type": "should be a mapping of keys to values",
    "dict_type": "should be a mapping of keys to values",
    "tuple_type": "should be a list",
}


@dataclass(frozen=True, slots=True)
class Problem:
    key: str
    """Dotted, as in `api.port`; empty when the whole source is wrong."""
    source: str
    """A variable's name, or `FILE:LINE`."""
    message: str

    def __str__(self) -> str:
        where = f" (from {self.source})" if self.source else ""
        return f"{self.key}{where}: {self.message}" if self.key else f"{self.source}: {self.message}"


class SettingsError(Exception):
    """Every problem of the configuration at once. The text holds no secret's value."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        head = "the configuration has a problem" if count == 1 else f"the configuration has {count} problems"
        super().__init__("\n".join([f"{head}:", *(f"  - {problem}" for problem in self.problems)]))


def nearest(word: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)`, or nothing where no known name is near."""
    names = {name.casefold(): name for name in sorted(known)}
    sought = word.casefold()
    tails = [name for name in names if name.rpartition(".")[2] == sought.rpartition(".")[2]]
    same = [sought] if sought in names else tails[:1]
    near = same or difflib.get_close_matches(sought, names, n=1, cutoff=0.6)
    return f"; did you mean {names[near[0]]!r}?" if near else ""


def describe(detail: ErrorDetails, *, show: Any = None) -> str:
    """One pydantic error as a sentence's end; `show` is the offending value where it is no secret."""
    said = (
        detail["msg"].removeprefix("Value error, ").removeprefix("Input ").partition(", unable to parse")[0]
    )
    message = _SENTENCES.get(detail["type"], said)
    if detail["type"] == "string_pattern_mismatch":
        message = f"should match {detail['ctx']['pattern']}"
    return message if show is None else f"{message}, but is {_short(show)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
