"""The agent processes of a host, as the kernel tells of them: who lives in which folder, and how long."""

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["AgentsSeen", "Seen"]


@dataclass(slots=True)
class Seen:
    """`first` and `last` are seconds since 1970 between which it lived for sure."""

    user: str
    pid: int
    first: float
    last: float
    lives: bool = True


class AgentsSeen:
    """Of all whose folder is below `users`. Blocking I/O."""

    def __init__(self, users: Path) -> None:
        self._users = users
        self._seen: dict[tuple[int, int], Seen] = {}

    @property
    def all(self) -> list[Seen]:
        return list(self._seen.values())

    def look(self) -> None:
        began = time.time()
        found = {key: user for pid in _pids() if (user := self._user(pid)) and (key := _agent(pid))}
        ended = time.time()
        for key, seen in self._seen.items():
            seen.lives = key in found
        for key, user in found.items():
            self._seen.setdefault(key, Seen(user, key[0], ended, ended)).last = began

    def _user(self, pid: int) -> str | None:
        with suppress(OSError, ValueError):
            place = Path(os.readlink(f"/proc/{pid}/cwd"))
            return place.relative_to(self._users).parts[0]
        return None


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _agent(pid: int) -> tuple[int, int] | None:
    """Its pid and when it was started, in the kernel's ticks; None for any other process. A child of an agent
    looks like it until it runs its own program."""
    with suppress(OSError, ValueError, IndexError):
        parent, started = _stat(pid)
        if _is_cli(pid) and not _is_cli(parent):
            return pid, started
    return None


def _is_cli(pid: int) -> bool:
    argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return argv[0].endswith(b"/claude") and b"stream-json" in argv


def _stat(pid: int) -> tuple[int, int]:
    """Its parent and its start."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[1]), int(fields[19])
