"""A limit to the watches of epoll that the processes of a session have together. The kernel has one for all
of a uid: an agent that uses it up leaves none to the service."""

import os
import time

from claude_agent_http.launcher.processes import descendants, tasks

__all__ = ["Watches"]

_EPOLL, _SOCKET = b"anon_inode:[eventpoll]", b"socket:["
_WATCH, _UNDER_WAY, _NONE = b"tfd:", b"scm_fds:", b"0"
_LOOKS = 3  # A descriptor that goes from one process to another may be in neither when each is looked at.
_LOOK_SECONDS = 0.1
_PAUSE_SECONDS = 1.0


class Watches:
    """Whether one more may be added. What was allowed counts as there; they are counted only when as many
    were allowed as there was room for, and where little room was found, not again for a second."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._room = most
        self._next_look = 0.0

    def may_add(self) -> bool:
        if self._room == 0 and time.monotonic() >= self._next_look:
            self._room = max(0, self._most - _counted(self._most))
            is_scarce = self._room < self._most // 4
            self._next_look = time.monotonic() + _PAUSE_SECONDS if is_scarce else 0.0
        if self._room == 0:
            return False
        self._room -= 1
        return True


def _counted(most: int) -> int:
    """`most` also where that is not found out in time, or something is hidden."""
    until = time.monotonic() + _LOOK_SECONDS
    try:
        return max(_look(until, backwards=turn % 2 == 1) for turn in range(_LOOKS))
    except (PermissionError, TimeoutError):
        return most


def _look(until: float, *, backwards: bool) -> int:
    """Raises TimeoutError; PermissionError where somebody does not want to be seen."""
    found = 0
    for pid in descendants()[:: -1 if backwards else 1]:
        for descriptor in _descriptors(pid):
            if time.monotonic() > until:
                raise TimeoutError
            found += _watches(descriptor)
    return found


def _descriptors(pid: int) -> list[str]:
    """Of any thread: they share them, but who has ended has none."""
    for task in reversed(tasks(pid)):
        folder = f"/proc/{pid}/task/{task}/fd"
        try:
            if names := os.listdir(folder):
                return [f"{folder}/{name}" for name in names]
        except (FileNotFoundError, ProcessLookupError):
            continue
    return []


def _watches(descriptor: str) -> int:
    """Of an epoll. Raises PermissionError for a socket in which descriptors are under way, who knows of
    what."""
    try:
        kind = os.readlink(descriptor.encode())
        if kind != _EPOLL and not kind.startswith(_SOCKET):
            return 0
        with open(descriptor.replace("/fd/", "/fdinfo/"), "rb") as file:
            lines = [line.split() for line in file if line.startswith((_WATCH, _UNDER_WAY))]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    if any(words[0] == _UNDER_WAY and words[1] != _NONE for words in lines):
        raise PermissionError
    return len(lines) if kind == _EPOLL else 0
