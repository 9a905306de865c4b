"""Landlock: the kernel's own sandbox for a process and all that it will start, for which nobody need be root.

Source: https://docs.kernel.org/userspace-api/landlock.html
"""

import posix
import sys
from _stat import S_ISDIR

from claude_agent_http.launcher.kernel import open_without_links, syscall

__all__ = ["abi", "restrict"]

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH, _NET_PORT = 1, 2
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_MAKE_CHAR, _MAKE_BLOCK = 1 << 6, 1 << 11
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_ALL_OF_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
_ALL = (1 << 16) - 1
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_CHANGE = _ALL & ~_MAKE_CHAR & ~_MAKE_BLOCK
_BIND_TCP, _CONNECT_TCP = 1 << 0, 1 << 1
_ABSTRACT_SOCKETS, _SIGNALS = 1 << 0, 1 << 1


def abi() -> int:
    """What the kernel knows of Landlock, from 1; 0 when it has none, or has it switched off."""
    try:
        return syscall(_CREATE_RULESET, 0, 0, _VERSION) if sys.platform == "linux" else 0
    except OSError:
        return 0


def restrict(reads: tuple[str, ...], writes: tuple[int, ...], ports: tuple[int, ...]) -> None:
    """This thread, and all that it starts, for good: to what is named and to what the kernel's ABI can hold.
    `reads` are paths without a link in them, `writes` descriptors.

    From ABI 4 on TCP is limited to connections to `ports`, from 6 on signals and abstract sockets to the
    jail. Needs `no_new_privs`. Raises OSError."""
    version = abi()
    handled = _ALL_OF_ABI.get(version, _ALL)
    ruleset = _create(version, handled)
    try:
        for path in reads:
            _allow_to_read(ruleset, path, handled & _READ)
        for place in writes:
            _allow_below(ruleset, place, handled & _CHANGE)
        for port in ports if version >= 4 else ():
            syscall(_ADD_RULE, ruleset, _NET_PORT, _packed(_CONNECT_TCP, port), 0)
        syscall(_RESTRICT_SELF, ruleset, 0)
    finally:
        posix.close(ruleset)


def _create(version: int, handled: int) -> int:
    net = (_BIND_TCP | _CONNECT_TCP,) if version >= 4 else ()
    scoped = (_ABSTRACT_SOCKETS | _SIGNALS,) if version >= 6 else ()
    attributes = _packed(handled, *net, *scoped)
    return syscall(_CREATE_RULESET, attributes, len(attributes), 0)


def _allow_to_read(ruleset: int, path: str, access: int) -> None:
    try:
        place = open_without_links(path)
    except FileNotFoundError:
        return
    try:
        _allow_below(ruleset, place, access)
    finally:
        posix.close(place)


def _allow_below(ruleset: int, place: int, access: int) -> None:
    if not S_ISDIR(posix.fstat(place).st_mode):
        access &= _OF_FILES
    rule = _packed(access) + place.to_bytes(4, sys.byteorder)
    syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)


def _packed(*values: int) -> bytes:
    return b"".join(value.to_bytes(8, sys.byteorder) for value in values)
