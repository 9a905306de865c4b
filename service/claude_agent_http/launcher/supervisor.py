"""Answers the system calls that the filter round a jail asks about: starts of tasks, memory to share,
watches, and changes of what a file is called to have (mode, owner, times), to which Landlock does not apply.

Such a change is made here, for the caller, to a file that was opened first and then found to lie where the
jail may write. The caller's own call never runs: between a look at its memory and the call it could put
another path there. Source: seccomp_unotify(2).
"""

import errno
import fcntl
import os
import stat
import struct
import time

from claude_agent_http.launcher.calls import NUMBERS
from claude_agent_http.launcher.changes import Change
from claude_agent_http.launcher.parameters import Jail
from claude_agent_http.launcher.places import Places
from claude_agent_http.launcher.processes import task_count
from claude_agent_http.launcher.shared_memory import SharedMemory
from claude_agent_http.launcher.watches import Watches

__all__ = ["Supervisor"]

_RECEIVE, _SEND, _IS_VALID = 0xC0502100, 0xC0182101, 0x40082102
_CONTINUE = 1
_REQUEST, _RESPONSE = struct.Struct("QIIiIQ6Q"), struct.Struct("QqiI")
_FULL_SECONDS = 0.05


class Supervisor:
    """`listener` is what `seccomp.install` returned in the jail. Not for elsewhere than the jail's launcher,
    below which all its processes are."""

    def __init__(self, listener: int, places: Places, jail: Jail) -> None:
        self._listener = listener
        self._places = places
        self._tasks = _Tasks(jail.tasks)
        self._shared = SharedMemory(jail.memory_bytes)
        self._watches = Watches(jail.watches)
        self._names = {number: name for name, number in NUMBERS[os.uname().machine].items()}

    def answer(self) -> None:
        """One call; returns when there is none."""
        request = bytearray(_REQUEST.size)
        try:
            fcntl.ioctl(self._listener, _RECEIVE, request)
            key, pid, _, number, _, _, *arguments = _REQUEST.unpack(request)
            fcntl.ioctl(self._listener, _SEND, self._response(key, pid, self._names[number], arguments))
        except OSError:
            return  # The caller has ended.

    def _response(self, key: int, pid: int, name: str, arguments: list[int]) -> bytes:
        if name in ("clone", "fork", "vfork"):
            return _allowed(key, self._tasks.may_start(), errno.EAGAIN)
        if name == "mmap":
            return _allowed(key, self._shared.may_have(arguments[1]), errno.ENOMEM)
        if name == "epoll_ctl":
            return _allowed(key, self._watches.may_add(), errno.ENOSPC)
        try:
            self._change(key, Change(pid, name, arguments))
        except OSError as error:
            return _RESPONSE.pack(key, 0, -(error.errno or errno.EPERM), 0)
        except (OverflowError, ValueError):
            return _RESPONSE.pack(key, 0, -errno.EINVAL, 0)
        return _RESPONSE.pack(key, 0, 0, 0)

    def _change(self, key: int, change: Change) -> None:
        file = self._opened(change)
        try:
            # Valid still: so it was the caller's memory and descriptors that were read, not a successor's.
            fcntl.ioctl(self._listener, _IS_VALID, struct.pack("Q", key))
            if not self._places.hold(file):
                raise _outside()
            change.make(b"/proc/self/fd/%d" % file)
        finally:
            os.close(file)

    def _opened(self, change: Change) -> int:
        """Why not tells something of the place: so it is told only where that is the jail's own."""
        try:
            return change.open()
        except OSError as error:
            if not self._is_own_way(change):
                raise _outside() from error
            raise

    def _is_own_way(self, change: Change) -> bool:
        """Whether the last that is there on the way lies in the jail, and is no link."""
        for path in change.ways():
            try:
                place = change.open(path, os.O_NOFOLLOW)
            except OSError:
                continue
            try:
                return not stat.S_ISLNK(os.fstat(place).st_mode) and self._places.hold(place)
            finally:
                os.close(place)
        return False


def _outside() -> OSError:
    """One error for whatever is not the jail's, there or not."""
    return PermissionError(errno.EACCES, os.strerror(errno.EACCES))


class _Tasks:
    """Whether one more may start. Counted anew only when as many were started as there was room for: to count
    costs milliseconds."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._room = 0
        self._full_until = 0.0

    def may_start(self) -> bool:
        if self._room == 0 and time.monotonic() >= self._full_until:
            self._room = max(0, self._most - task_count())
            self._full_until = 0.0 if self._room else time.monotonic() + _FULL_SECONDS
        if self._room == 0:
            return False
        self._room -= 1
        return True


def _allowed(key: int, may: bool, error: int) -> bytes:
    """The caller's own call runs, or fails."""
    return _RESPONSE.pack(key, 0, 0, _CONTINUE) if may else _RESPONSE.pack(key, 0, -error, 0)
