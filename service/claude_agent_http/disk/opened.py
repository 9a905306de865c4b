"""Folders held by descriptors: a name below one cannot come to mean another place. Blocking I/O."""

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TextIO

__all__ = ["created", "is_folder", "made", "open_up", "opened", "reached"]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# Needs no permission on the folder itself; where there is no such flag, the permission to read it.
_NO_PERMISSION = getattr(os, "O_PATH", os.O_RDONLY)


@contextmanager
def opened(path: str | Path, folder: int | None = None) -> Iterator[int]:
    """A folder, below the opened `folder` if given. Raises OSError, also when it is a link or a file."""
    descriptor = os.open(path, _FOLDER, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def reached(names: Iterable[str], base: str | Path) -> AbstractContextManager[int]:
    """The folder that `names` lead to from the folder `base`, none of them a link. Raises OSError."""
    return _descended(names, base, _entered)


def made(names: Iterable[str], base: str | Path) -> AbstractContextManager[int]:
    """As `reached`, and each on the way is made (0700) if need be, also in the place of a link or a file:
    whoever put one there wants us to write elsewhere. Raises OSError."""
    return _descended(names, base, _made)


def created(name: str, folder: int, mode: int = 0o600) -> TextIO:
    """A new file to write UTF-8 to, in the place of what file or link stands there; `mode` holds from the
    first byte on. Raises OSError."""
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
    descriptor = os.open(name, _NEW_FILE, mode, dir_fd=folder)
    os.fchmod(descriptor, mode)
    return open(descriptor, "w", encoding="utf-8")


def is_folder(name: str, folder: int) -> bool:
    """A link is none. Raises OSError, FileNotFoundError among them."""
    return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)


def open_up(name: str, folder: int) -> None:
    """Let its owner read and change it, and be sure that it is a folder whose permissions change."""
    if os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode & stat.S_IRWXU == stat.S_IRWXU:
        return
    flags = _NO_PERMISSION | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, dir_fd=folder)
    try:
        os.chmod(f"/dev/fd/{descriptor}", stat.S_IRWXU)
    finally:
        os.close(descriptor)


@contextmanager
def _descended(names: Iterable[str], base: str | Path, step: Callable[[str, int], int]) -> Iterator[int]:
    """`base` is the operator's choice, and may be a link."""
    folder = os.open(os.path.realpath(base), _FOLDER)
    try:
        for name in names:
            outer, folder = folder, step(name, folder)
            os.close(outer)
        yield folder
    finally:
        os.close(folder)


def _made(name: str, folder: int) -> int:
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=folder)
    if not is_folder(name, folder):
        os.unlink(name, dir_fd=folder)
        os.mkdir(name, 0o700, dir_fd=folder)
    open_up(name, folder)
    return _entered(name, folder)


def _entered(name: str, folder: int) -> int:
    return os.open(name, _FOLDER, dir_fd=folder)
