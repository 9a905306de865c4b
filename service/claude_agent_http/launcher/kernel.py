"""System calls that Python has no function for.

By `_ctypes`, of which `ctypes` is made: to load that too takes each start of an agent 2 ms.
"""

import _ctypes
import errno
import posix
import sys

__all__ = [
    "PR_SET_CHILD_SUBREAPER",
    "PR_SET_NO_NEW_PRIVS",
    "PR_SET_PDEATHSIG",
    "SIGINT",
    "SIGKILL",
    "SIGTERM",
    "Text",
    "UnsignedShort",
    "drop_capabilities",
    "forget_environment",
    "open_without_links",
    "prctl",
    "syscall",
]

SIGINT, SIGKILL, SIGTERM = 2, 9, 15  # Python's own module for signals takes 3 ms to load.
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECUREBITS, _PR_CAPBSET_DROP = 28, 24
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
# NOROOT, NO_SETUID_FIXUP and their locks: uid 0 is a user like any other, for good.
_NO_POWER_OF_ROOT = 0b1111
_CAPABILITY_VERSION_3 = 0x20080522
_SYS_OPENAT2, _AT_FDCWD, _RESOLVE_NO_SYMLINKS = 437, -100, 0x04
_SYS_CAPSET = {"x86_64": 126, "aarch64": 91}
_ENV_START = 47  # Behind the name in /proc/self/stat; the next field says where it ends.


class _Long(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "l"


class UnsignedShort(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "H"


class Text(_ctypes._SimpleCData):  # type: ignore[type-arg]
    """A pointer to bytes, which may hold NUL."""

    _type_ = "z"


class _Function(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = _Long


def _function(name: str) -> _Function:
    return _Function(_ctypes.dlsym(_libc, name))


_libc = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]  # None is this process
_prctl = _function("prctl") if sys.platform == "linux" else None
_syscall = _function("syscall")
_memset = _function("memset")
_ZERO = _Long(0)


def prctl(option: int, value: int, more: int = 0) -> bool:
    """Whether the kernel did it. Linux only; elsewhere the heartbeat and the process group do what they can.
    Raises nothing."""
    if _prctl is None:
        return False
    result: int = _prctl(option, value, more, 0, 0)
    return result & 0xFFFFFFFF == 0  # It returns an `int`, which leaves the upper half open.


def syscall(number: int, *arguments: object) -> int:
    """Integers and buffers. Raises OSError."""
    given = [_Long(value) if isinstance(value, int) else value for value in arguments]
    result: int = _syscall(_Long(number), *given)
    if result < 0:
        number = _ctypes.get_errno()
        raise OSError(number, posix.strerror(number))
    return result


def open_without_links(path: str) -> int:
    """The place itself, without any right to its content. Raises OSError, with ELOOP where a link stands on
    the way to it at that moment."""
    flags = posix.O_PATH | posix.O_CLOEXEC
    how = b"".join(value.to_bytes(8, sys.byteorder) for value in (flags, 0, _RESOLVE_NO_SYMLINKS))
    try:
        return syscall(_SYS_OPENAT2, _AT_FDCWD, path.encode(), how, len(how))
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise OSError(errno.ELOOP, f"a symbolic link stands on the way to {path}") from error


def drop_capabilities() -> None:
    """All of them, also for what is run from now on. Raises OSError."""
    prctl(_PR_SET_SECUREBITS, _NO_POWER_OF_ROOT)
    prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    capability = 0
    while prctl(_PR_CAPBSET_DROP, capability):  # Until one is not known, or where none may be dropped.
        capability += 1
    header = _CAPABILITY_VERSION_3.to_bytes(4, sys.byteorder) + bytes(4)
    syscall(_SYS_CAPSET[posix.uname().machine], header, bytes(24))


def forget_environment() -> None:
    """Overwrite the environment that this process was started with, so that `/proc` shows nothing of it;
    `os.environ` stays. Raises OSError."""
    if sys.platform != "linux":
        return
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    start, end = map(int, fields[_ENV_START : _ENV_START + 2])
    _memset(_Long(start), _ZERO, _Long(end - start))
