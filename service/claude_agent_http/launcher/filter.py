"""The filter of system calls round a jail: what Landlock cannot hold, or only a newer one.

A call is refused, or allowed for some arguments, or put to the launcher, which answers it (`supervisor.py`).
Arguments are seen as registers: what a pointer leads to, a filter cannot read. The service makes it, so that
no start of an agent has to wait for that.
Source: https://docs.kernel.org/userspace-api/seccomp_filter.html
"""

import errno
import struct
from functools import cache
from sys import byteorder

from claude_agent_http.launcher.calls import AUDIT_ARCH, LAST_REVIEWED, NUMBERS

__all__ = ["ASKED", "program"]

ASKED = (
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat", "utimensat"),
    *("fork", "vfork"),
)
"""Calls that are put to the launcher; so is `clone` that makes no namespace, `mmap` of shared memory, and
`epoll_ctl` that adds a watch."""

_REFUSED = {
    # Programs try these first and know another way.
    errno.ENOSYS: (
        *("clone3", "utime", "utimes", "futimesat", "memfd_create", "memfd_secret"),
        *("open_tree_attr", "file_getattr", "file_setattr"),
        *("io_uring_setup", "io_uring_enter", "io_uring_register"),
        *("setxattrat", "getxattrat", "listxattrat", "removexattrat"),
    ),
    # Landlock does not hold these to the jail's files: as if the file system had no such attributes.
    errno.EOPNOTSUPP: (
        *("setxattr", "lsetxattr", "getxattr", "lgetxattr"),
        *("listxattr", "llistxattr", "removexattr", "lremovexattr"),
        # A file that it may only read can be opened.
        *("fsetxattr", "fremovexattr"),
    ),
    errno.EACCES: (
        # A watch tells the names of other users' files.
        *("inotify_init", "inotify_init1", "inotify_add_watch", "fanotify_init", "fanotify_mark"),
        # Landlock holds `bind`, but to listen takes a free port by itself.
        "listen",
    ),
    errno.EPERM: (
        # Shared by all processes of one uid, and so by all users.
        *("add_key", "request_key", "keyctl", "shmget", "semget", "msgget", "mq_open"),
        # Of all of the host: what the kernel logs, and the places for asynchronous input and output.
        *("syslog", "io_setup"),
        # It takes descriptors where nobody sees them go.
        "pidfd_getfd",
        # Ways round Landlock for who has a capability, or gets one in a namespace.
        *("unshare", "setns", "open_by_handle_at", "bpf", "perf_event_open", "userfaultfd"),
        *("open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr"),
    ),
}
_AF_INET, _AF_INET6, _AF_NETLINK = 2, 10, 16
_SOCK_STREAM, _SOCK_DGRAM, _SOCK_RAW, _SOCK_SEQPACKET, _SOCK_TYPE = 1, 2, 3, 5, 0xF
_TYPES = (_SOCK_STREAM, _SOCK_DGRAM, _SOCK_RAW)
# 0, TCP, UDP, ICMP, ICMPv6: Landlock's rules for TCP do not hold MPTCP and SCTP.
_PROTOCOLS = (0, 6, 17, 1, 58)
_MSG_FASTOPEN = 0x20000000
_F_SETLEASE = 1024
_EPOLL_ADD, _CLOSE_RANGE_UNSHARE = 1, 2
_MAP_SHARED, _MAP_ANONYMOUS = 0x01, 0x20
# Of terminals, pipes and any descriptor; of sockets.
_IOCTL_FAMILY, _IOCTL_FAMILIES = 0xFF00, (0x5400, 0x8900)
_IOCTLS = (
    # To read the size of blocks, the flags of a file (two ways), and where its blocks are.
    *(0x2, 0x80086601, 0x801C581F, 0xC020660B),
    # To copy a file, or a part, into an open one by sharing its blocks.
    *(0x40049409, 0x4020940D),
)
_NEW_NAMESPACES, _CLONE_FILES, _CLONE_THREAD = 0x7E020000, 0x400, 0x10000
_PRIO_PROCESS, _PRIO_PGRP, _IOPRIO_WHO_PROCESS = 0, 1, 1

_RET_ALLOW, _RET_ASK, _RET_ERRNO = 0x7FFF0000, 0x7FC00000, 0x00050000
_LOAD, _AND, _EQUAL, _AT_LEAST, _SET, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16

# An instruction: code, offset if true, offset if false, value.
_Code = list[tuple[int, int, int, int]]


@cache
def program(machine: str) -> bytes:
    """The filter as the kernel reads it. Raises KeyError for a machine that is not known."""
    numbers = NUMBERS[machine]
    code: _Code = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, AUDIT_ARCH[machine]),
        (_RETURN, 0, 0, _RET_ERRNO | errno.ENOSYS),
        (_LOAD, 0, 0, _NUMBER),
        # Also every call of x32, whose numbers have a bit above all others.
        (_AT_LEAST, 0, 1, LAST_REVIEWED + 1),
        (_RETURN, 0, 0, _RET_ERRNO | errno.ENOSYS),
    ]
    for error, names in _REFUSED.items():
        code += _rule(numbers, names, [(_RETURN, 0, 0, _RET_ERRNO | error)])
    for name, rule in _rules().items():
        code += _rule(numbers, (name,), rule)
    code += _rule(numbers, ASKED, [(_RETURN, 0, 0, _RET_ASK)])
    code.append((_RETURN, 0, 0, _RET_ALLOW))
    return b"".join(struct.pack("HBBI", *instruction) for instruction in code)


def _rules() -> dict[str, _Code]:
    """Each ends in an answer: behind it the call's number is no longer at hand."""
    return {
        "socket": [
            # Of UNIX sockets only pairs: the kernel tells a filter nothing of where one connects to.
            *_only_if(0, (_AF_INET, _AF_INET6, _AF_NETLINK), errno.EAFNOSUPPORT),
            *_only_if(1, _TYPES, errno.ESOCKTNOSUPPORT, mask=_SOCK_TYPE),
            *_only_if(2, _PROTOCOLS, errno.EPROTONOSUPPORT),
            (_RETURN, 0, 0, _RET_ALLOW),
        ],
        "socketpair": [
            # One of datagrams could be connected anew, to a path.
            *_only_if(1, (_SOCK_STREAM, _SOCK_SEQPACKET), errno.EACCES, mask=_SOCK_TYPE),
            (_RETURN, 0, 0, _RET_ALLOW),
        ],
        # It connects, past Landlock.
        "sendto": _unless_set(3, _MSG_FASTOPEN, errno.EOPNOTSUPP),
        "sendmsg": _unless_set(2, _MSG_FASTOPEN, errno.EOPNOTSUPP),
        "sendmmsg": _unless_set(3, _MSG_FASTOPEN, errno.EOPNOTSUPP),
        "clone": [
            *_unless_set(0, _NEW_NAMESPACES, errno.EPERM)[:-1],
            # A thread with descriptors of its own hides them from who looks at its process.
            (_AND, 0, 0, _CLONE_THREAD | _CLONE_FILES),
            (_EQUAL, 0, 1, _CLONE_THREAD),
            (_RETURN, 0, 0, _RET_ERRNO | errno.EPERM),
            (_RETURN, 0, 0, _RET_ASK),
        ],
        "mmap": [
            (_LOAD, 0, 0, _argument(3)),
            (_AND, 0, 0, _MAP_SHARED | _MAP_ANONYMOUS),
            (_EQUAL, 0, 1, _MAP_SHARED | _MAP_ANONYMOUS),
            (_RETURN, 0, 0, _RET_ASK),
            (_RETURN, 0, 0, _RET_ALLOW),
        ],
        "epoll_ctl": [
            (_LOAD, 0, 0, _argument(1)),
            (_EQUAL, 0, 1, _EPOLL_ADD),
            (_RETURN, 0, 0, _RET_ASK),
            (_RETURN, 0, 0, _RET_ALLOW),
        ],
        # As for `clone`.
        "close_range": _unless_set(2, _CLOSE_RANGE_UNSHARE, errno.EINVAL),
        # A lease on a file that all may read makes whoever opens it wait.
        "fcntl": [
            (_LOAD, 0, 0, _argument(1)),
            (_EQUAL, 0, 1, _F_SETLEASE),
            (_RETURN, 0, 0, _RET_ERRNO | errno.EACCES),
            (_RETURN, 0, 0, _RET_ALLOW),
        ],
        # What a file system can be told so goes past Landlock, and needs no right to write.
        "ioctl": [
            (_LOAD, 0, 0, _argument(1)),
            *_go_to(len(_IOCTL_FAMILIES) + 2, _IOCTLS),
            (_AND, 0, 0, _IOCTL_FAMILY),
            *_go_to(1, _IOCTL_FAMILIES),
            (_RETURN, 0, 0, _RET_ERRNO | errno.ENOTTY),
            (_RETURN, 0, 0, _RET_ALLOW),
        ],
        # Only of the caller itself: another process of the same uid may be the service.
        "setpriority": [*_only_if(0, (_PRIO_PROCESS, _PRIO_PGRP), errno.EPERM), *_own(1)],
        "ioprio_set": [*_only_if(0, (_IOPRIO_WHO_PROCESS,), errno.EPERM), *_own(1)],
        "prlimit64": _own(0),
        "sched_setparam": _own(0),
        "sched_setscheduler": _own(0),
        "sched_setaffinity": _own(0),
        "sched_setattr": _own(0),
    }


def _rule(numbers: dict[str, int], names: tuple[str, ...], answer: _Code) -> _Code:
    """Of all that have the same answer; a call that this machine does not have is passed over."""
    known = [numbers[name] for name in names if name in numbers]
    if not known:
        return []
    others, last = known[:-1], known[-1]
    tests = [(_EQUAL, len(others) - place, 0, number) for place, number in enumerate(others)]
    return [*tests, (_EQUAL, 0, len(answer), last), *answer]


def _own(argument: int) -> _Code:
    return [*_only_if(argument, (0,), errno.EPERM), (_RETURN, 0, 0, _RET_ALLOW)]


def _only_if(argument: int, values: tuple[int, ...], error: int, mask: int | None = None) -> _Code:
    """Go on when the argument is one of `values`."""
    masked: _Code = [(_LOAD, 0, 0, _argument(argument))]
    if mask is not None:
        masked.append((_AND, 0, 0, mask))
    return [*masked, *_go_to(1, values), (_RETURN, 0, 0, _RET_ERRNO | error)]


def _go_to(place: int, values: tuple[int, ...]) -> _Code:
    """Pass over so many instructions behind these when what was loaded is one of `values`."""
    last = len(values) - 1
    return [(_EQUAL, last - at + place, 0, value) for at, value in enumerate(values)]


def _unless_set(argument: int, bits: int, error: int) -> _Code:
    return [
        (_LOAD, 0, 0, _argument(argument)),
        (_SET, 0, 1, bits),
        (_RETURN, 0, 0, _RET_ERRNO | error),
        (_RETURN, 0, 0, _RET_ALLOW),
    ]


def _argument(place: int) -> int:
    """Where the lower half of the 64 bits of an argument stands in what the kernel shows."""
    return _ARGUMENTS + 8 * place + (0 if byteorder == "little" else 4)
