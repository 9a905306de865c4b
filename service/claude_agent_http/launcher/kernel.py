"""System calls that Python has no function for."""

import ctypes
import os
import sys

__all__ = [
    "PR_SET_CHILD_SUBREAPER",
    "PR_SET_NO_NEW_PRIVS",
    "PR_SET_PDEATHSIG",
    "drop_capabilities",
    "prctl",
    "syscall",
]

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECUREBITS = 28
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
# NOROOT, NO_SETUID_FIXUP and their locks: uid 0 is a user like any other, for good.
_NO_POWER_OF_ROOT = 0b1111
_CAPABILITY_VERSION_3 = 0x20080522
_SYS_CAPSET = {"x86_64": 126, "aarch64": 91}

_libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int, more: int = 0) -> None:
    """Linux only; elsewhere the heartbeat and the process group do what they can. Raises nothing."""
    if sys.platform == "linux":
        _libc.prctl(option, value, more, 0, 0)


def syscall(number: int, *arguments: object) -> int:
    """Integers and buffers. Raises OSError."""
    given = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    _libc.syscall.restype = ctypes.c_long
    result: int = _libc.syscall(ctypes.c_long(number), *given)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def drop_capabilities() -> None:
    """All of them, also for what is run from now on. Raises OSError."""
    prctl(_PR_SET_SECUREBITS, _NO_POWER_OF_ROOT)
    prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    header = _CAPABILITY_VERSION_3.to_bytes(4, sys.byteorder) + bytes(4)
    syscall(_SYS_CAPSET[os.uname().machine], header, bytes(24))
