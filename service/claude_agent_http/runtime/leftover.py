"""What a CLI wrote to its own disk and the store never got: the service was killed, or its database away."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["unstored"]

_LARGEST_BYTES = 64 * 1024 * 1024


def unstored(projects: Path, session_id: str, stored: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The lines of the local conversation behind the last one that is stored. Blocking I/O.

    None when the store has gone on elsewhere (its last entry is not on this disk), or has nothing: a
    deleted conversation must not come back.
    """
    last = next((entry["uuid"] for entry in reversed(stored) if entry.get("uuid")), None)
    local = list(_lines(projects, session_id)) if last else []
    behind = next((place for place in range(len(local), 0, -1) if local[place - 1].get("uuid") == last), None)
    tail = local[behind:] if behind else []
    # Without a uuid nothing tells a line from a stored one; alone such lines are no part of a conversation.
    return tail if any(line.get("uuid") for line in tail) else []


def _lines(projects: Path, session_id: str) -> Iterator[dict[str, Any]]:
    """As far as they are whole: a killed process may leave half a line."""
    for path in projects.glob(f"*/{session_id}.jsonl"):
        if not _is_own_file(path, projects):
            return
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    entry = json.loads(line)
                except ValueError:
                    return
                if not isinstance(entry, dict):
                    return
                yield entry
        return


def _is_own_file(path: Path, projects: Path) -> bool:
    """The folder is the agent's to write to: a link in it could make its conversation of another's file."""
    own_path = os.path.realpath(path) == os.path.join(os.path.realpath(projects.parent), *path.parts[-3:])
    return own_path and path.is_file() and path.stat().st_size <= _LARGEST_BYTES
