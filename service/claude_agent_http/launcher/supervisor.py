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
from claude_agent_http.launcher.kernel import syscall
from claude_agent_http.launcher.parameters import Jail
from claude_agent_http.launcher.places import Places
from claude_agent_http.launcher.processes import task_count
from claude_agent_http.launcher.shared_memory import SharedMemory
from claude_agent_http.launcher.watches import Watches

TYPE_CHECKING = False  # `typing` takes 5 ms to load.
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Supervisor"]

_RECEIVE, _SEND, _IS_VALID = 0xC0502100, 0xC0182101, 0x40082102
_CONTINUE = 1
_REQUEST, _RESPONSE = struct.Struct("QIIiIQ6Q"), struct.Struct("QqiI")
_AT_FDCWD, _NOFOLLOW, _EMPTY_PATH = -100, 0x100, 0x1000
_MOST_PATH_BYTES = 4096
_TIMES_BYTES = 32
_FULL_SECONDS = 0.05
_PERMISSIONS = 0o1777  # Without set-uid and set-gid, for who runs such a file later may be in no jail.


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
            self._change(key, _Change(pid, name, arguments))
        except OSError as error:
            return _RESPONSE.pack(key, 0, -(error.errno or errno.EPERM), 0)
        except (OverflowError, ValueError):
            return _RESPONSE.pack(key, 0, -errno.EINVAL, 0)
        return _RESPONSE.pack(key, 0, 0, 0)

    def _change(self, key: int, change: "_Change") -> None:
        file = self._opened(change)
        try:
            # Valid still: so it was the caller's memory and descriptors that were read, not a successor's.
            fcntl.ioctl(self._listener, _IS_VALID, struct.pack("Q", key))
            if not self._places.hold(file):
                raise _outside()
            change.make(b"/proc/self/fd/%d" % file)
        finally:
            os.close(file)

    def _opened(self, change: "_Change") -> int:
        """Why not tells something of the place: so it is told only where that is the jail's own."""
        try:
            return change.open()
        except OSError as error:
            if not self._is_own_way(change):
                raise _outside() from error
            raise

    def _is_own_way(self, change: "_Change") -> bool:
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


class _Change:
    """What a call asks for; reads the caller's memory once, when made. Raises OSError."""

    def __init__(self, pid: int, name: str, arguments: list[int]) -> None:
        self._pid = pid
        self._name = name
        is_of_open_file = name in ("fchmod", "fchown")
        at_folder = is_of_open_file or name.endswith(("at", "at2"))
        self._folder = _signed(arguments[0]) if at_folder else _AT_FDCWD
        address, *self._given = (0, *arguments[1:]) if is_of_open_file else arguments[at_folder:]
        # Without a path it is about an open file; to open one takes no right to change it.
        self._flags = self._flags_of() if address else _EMPTY_PATH
        self._path = _text(pid, address) if address else b""
        self._times = self._times_of()

    def _flags_of(self) -> int:
        places = {"fchmodat2": 1, "fchownat": 2, "utimensat": 1}
        flags = _signed(self._given[places[self._name]]) if self._name in places else 0
        if flags & ~(_NOFOLLOW | _EMPTY_PATH):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return flags | _NOFOLLOW if self._name == "lchown" else flags

    def _times_of(self) -> bytes:
        """As the caller gave them; empty for the time of now."""
        address = self._given[0] if self._name == "utimensat" else 0
        times = _memory(self._pid, address, _TIMES_BYTES) if address else b""
        if address and len(times) < _TIMES_BYTES:
            raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))
        return times

    def ways(self) -> "Iterator[bytes]":
        """The path, and each that is a step shorter."""
        path = self._path.rstrip(b"/")
        while path:
            yield path
            path = path.rpartition(b"/")[0].rstrip(b"/")
        yield b"/" if self._path.startswith(b"/") else b"."

    def open(self, path: bytes | None = None, more: int = 0) -> int:
        """The file itself, without any right to its content; that which the call names, if no other `path` is
        given. Raises OSError."""
        path = self._path if path is None else path
        how = os.O_PATH | os.O_CLOEXEC | more
        folder = f"/proc/{self._pid}/" + ("cwd" if self._folder == _AT_FDCWD else f"fd/{self._folder}")
        if not path:
            if not self._flags & _EMPTY_PATH:
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
            return os.open(folder, how)
        how |= os.O_NOFOLLOW if self._flags & _NOFOLLOW else 0
        if path.startswith(b"/"):
            return os.open(self._own(path), how)
        place = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return os.open(path, how, dir_fd=place)
        finally:
            os.close(place)

    def _own(self, path: bytes) -> bytes:
        """`self` is who asks, not who answers."""
        for mine, place in ((b"/proc/self/", b""), (b"/proc/thread-self/", b""), (b"/dev/fd/", b"fd/")):
            if path.startswith(mine):
                return b"/proc/%d/%s%s" % (self._pid, place, path.removeprefix(mine))
        return path

    def make(self, path: bytes) -> None:
        given = self._given
        if self._name == "utimensat":
            number = NUMBERS[os.uname().machine]["utimensat"]
            syscall(number, _AT_FDCWD, path, self._times or 0, 0)
        elif "chmod" in self._name:
            os.chmod(path, given[0] & _PERMISSIONS)
        else:
            os.chown(path, _own(given[0], os.getuid()), _own(given[1], os.getgid()))


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


def _own(argument: int, own: int) -> int:
    """An owner to be set; -1 keeps it. Raises OSError for another than one's own."""
    wanted = argument & 0xFFFFFFFF
    if wanted not in (0xFFFFFFFF, own):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))
    return -1 if wanted == 0xFFFFFFFF else wanted


def _signed(argument: int) -> int:
    """An `int` of C, of which the kernel shows 64 bits."""
    return (argument & 0xFFFFFFFF) - ((argument & 0x80000000) << 1)


def _text(pid: int, address: int) -> bytes:
    text, end, _ = _memory(pid, address, _MOST_PATH_BYTES).partition(b"\0")
    if not end:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    return text


def _memory(pid: int, address: int, most: int) -> bytes:
    """As much as there is. Raises OSError."""
    file = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(file, most, address)
    except (OSError, OverflowError) as error:
        raise OSError(errno.EFAULT, os.strerror(errno.EFAULT)) from error
    finally:
        os.close(file)
