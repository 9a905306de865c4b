"""A limit to the anonymous memory that processes may share: it stays when its pages are in no process's
tables, or all of it but one is unmapped, and then no count of a process has it."""

import time

from claude_agent_http.launcher.processes import descendants

__all__ = ["SharedMemory"]

_LOOK_SECONDS = 0.05
_UNSEEN_SECONDS = 1.0  # A mapping that was allowed may take a moment to be there.
_NAME = b"/dev/zero (deleted)"  # So the kernel calls it.


class SharedMemory:
    """`most_bytes` 0 is none. What was given counts as held until no process below the launcher maps any such
    memory: of one mapping that is left nobody can tell how much is behind it."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._given = 0
        self._next_look = 0.0

    def may_have(self, length: int) -> bool:
        if not self._most_bytes:
            return True
        now = time.monotonic()
        if self._given + length > self._most_bytes and now >= self._next_look:
            self._next_look = now + _UNSEEN_SECONDS
            self._given = self._given if _is_mapped() else 0
        if self._given + length > self._most_bytes:
            return False
        self._given += length
        self._next_look = now + _UNSEEN_SECONDS
        return True


def _is_mapped() -> bool:
    """Also where that is not found out in time: whoever asks, the launcher has more to do."""
    until = time.monotonic() + _LOOK_SECONDS
    return any(time.monotonic() > until or _maps_any(pid) for pid in descendants())


def _maps_any(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/maps", "rb") as file:
            return _NAME in file.read()
    except (FileNotFoundError, ProcessLookupError):
        return False
    except OSError:
        return True  # It does not want to be seen.
