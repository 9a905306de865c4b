"""One value that a source gives for a key."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Given", "nested"]


@dataclass(frozen=True, slots=True)
class Given:
    key: str
    value: Any = field(repr=False)
    source: str
    file: Path | None = None
    """Where a secret came from, when that can be read again."""


def nested(given: Iterable[Given]) -> dict[str, Any]:
    """`{"api": {"port": 1}}` of `api.port`; the shape of `Settings`."""
    tree: dict[str, Any] = {}
    for one in given:
        section, dot, key = one.key.partition(".")
        if dot:
            tree.setdefault(section, {})[key] = one.value
        else:
            tree[section] = one.value
    return tree
