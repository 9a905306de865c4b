"""A change of a file's mode, owner or times, as a process in a jail asks for it."""

import errno
import os

from claude_agent_http.launcher.calls import NUMBERS
from claude_agent_http.launcher.kernel import syscall

TYPE_CHECKING = False  # `typing` takes 5 ms to load.
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Change"]

_AT_FDCWD, _NOFOLLOW, _EMPTY_PATH = -100, 0x100, 0x1000
_MOST_PATH_BYTES = 4096
_TIMES_BYTES = 32
_PERMISSIONS = 0o1777  # Without set-uid and set-gid, for who runs such a file later may be in no jail.


class Change:
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
