"""Puts a filter of system calls on a process; `filter.py` makes it."""

import errno
import posix
from _ctypes import Structure, byref

from claude_agent_http.launcher.kernel import Text, UnsignedShort, syscall

__all__ = ["install", "is_available"]

_SET_MODE_FILTER, _GET_ACTION_AVAIL = 1, 2
_NEW_LISTENER, _WAIT_KILLABLE_RECV = 1 << 3, 1 << 5
_RET_ASK = 0x7FC00000
_INSTRUCTION_BYTES = 8
_SYS_SECCOMP = {"x86_64": 317, "aarch64": 277}


class _Program(Structure):
    """`struct sock_fprog`."""

    _fields_ = (("len", UnsignedShort), ("filter", Text))


def is_available() -> bool:
    """Whether the kernel can put a call to another process."""
    try:
        syscall(_SYS_SECCOMP[posix.uname().machine], _GET_ACTION_AVAIL, 0, _RET_ASK.to_bytes(4, "little"))
    except (OSError, KeyError):
        return False
    return True


def install(program: bytes) -> int:
    """Put the filter on this thread and all that it starts; returns the descriptor on which it asks.

    Needs `no_new_privs`. Raises OSError; KeyError on a machine that is not known."""
    given = byref(_Program(len(program) // _INSTRUCTION_BYTES, program))
    number = _SYS_SECCOMP[posix.uname().machine]
    try:
        return syscall(number, _SET_MODE_FILTER, _NEW_LISTENER | _WAIT_KILLABLE_RECV, given)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return syscall(number, _SET_MODE_FILTER, _NEW_LISTENER, given)  # Linux before 5.19
