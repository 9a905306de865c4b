"""What a CLI wrote to its own disk and the store never got: the service was killed, or its database away."""

import errno
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from claude_agent_http.disk.opened import opened, reached
from claude_agent_http.runtime.folders import SessionFolders

__all__ = ["unstored"]

_LARGEST_BYTES = 64 * 1024 * 1024
_NO_FILE_OF_OURS = frozenset({errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.EACCES, errno.ENXIO})


def unstored(
    folders: SessionFolders, session_id: str, stored: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The lines of the local conversation behind the last one that is stored. Blocking I/O.

    None when the store has gone on elsewhere (its last entry is not on this disk), or has nothing: a
    deleted conversation must not come back.
    """
    last = next((entry["uuid"] for entry in reversed(stored) if entry.get("uuid")), None)
    local = list(_lines(folders, f"{session_id}.jsonl")) if last else []
    behind = next((place for place in range(len(local), 0, -1) if local[place - 1].get("uuid") == last), None)
    tail = local[behind:] if behind else []
    # Without a uuid nothing tells a line from a stored one; alone such lines are no part of a conversation.
    return tail if any(line.get("uuid") for line in tail) else []


def _lines(folders: SessionFolders, name: str) -> Iterator[dict[str, Any]]:
    """As far as they are whole: a killed process may leave half a line."""
    descriptor = _found(folders, name)
    if descriptor is None:
        return
    with open(descriptor, encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):
                return
            if not isinstance(entry, dict):
                return
            yield entry


def _found(folders: SessionFolders, name: str) -> int | None:
    """The first file of that name in a project's folder, opened."""
    way = folders.projects.relative_to(folders.state_dir).parts
    with _unless_a_trick(), reached(way, folders.state_dir) as projects:
        for each in sorted(os.listdir(projects)):
            with _unless_a_trick(), opened(each, projects) as project:
                return _opened_file(name, project)
    return None


def _opened_file(name: str, folder: int) -> int | None:
    """None when it is no file or too large. Waits for nobody, as a pipe would have it."""
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and found.st_size <= _LARGEST_BYTES:
        return descriptor
    os.close(descriptor)
    return None


@contextmanager
def _unless_a_trick() -> Iterator[None]:
    """The folder is the agent's to write to: a link in it could make its conversation of another's file."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_FILE_OF_OURS:
            raise
