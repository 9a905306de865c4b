"""Files of one workspace, opened step by step so that no link leads out of it. Blocking I/O.

The agent works in the same folder at the same time: whatever was looked at may be another thing by now. So
each folder is opened by its name in the opened one before it, and a file is judged after it was opened."""

import errno
import os
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

from claude_agent_http.disk.entries import Parts, entry_of
from claude_agent_http.disk.leftover import remove_leftovers, temporary_name
from claude_agent_http.disk.opened import opened
from claude_agent_http.disk.workspaces import FULL
from claude_agent_http.domain.errors import (
    ClaudeAgentError,
    FileExistsAlreadyError,
    FileRefusedError,
    InvalidInputError,
    NoSuchFileError,
    StorageFullError,
    WorkspaceError,
)
from claude_agent_http.domain.file import Written

__all__ = ["Reading", "Writing", "opened_below", "remove", "translated"]

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC  # a FIFO must not hang us
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER_MODE = 0o700
_FILE_MODE = 0o644
_REASONS = {
    errno.ELOOP: "is a symbolic link, or leads through one; links are not followed",
    errno.ENOTDIR: "leads through a file or a symbolic link; links are not followed",
    errno.EISDIR: "is a folder",
    errno.ENOTEMPTY: "is a folder with something in it; remove that first",
    errno.ENXIO: "is no regular file",
    errno.ENODEV: "is no regular file",
    errno.EACCES: "may not be used: its permissions, which the agent can change, do not allow it",
    errno.EPERM: "may not be used: its permissions, which the agent can change, do not allow it",
    errno.EROFS: "stands on a read-only file system",
    errno.ETXTBSY: "is a program that runs",
}


class Reading:
    """One opened file. Its end may be asked for while a read is under way in another thread."""

    def __init__(self, folder: int, path: Parts) -> None:
        """Raises OSError; FileRefusedError for anything but a regular file."""
        with opened_below(folder, path[:-1]) as parent:
            descriptor = os.open(path[-1], _READ, dir_fd=parent)
        try:
            status = os.fstat(descriptor)
            _check_regular(path, status.st_mode)
            self._file = os.fdopen(descriptor, "rb", buffering=0)
        except BaseException:
            os.close(descriptor)
            raise
        self._lock = threading.Lock()
        self.entry = entry_of(path, status)

    def read(self, start: int, size: int) -> bytes:
        with self._lock:
            return os.pread(self._file.fileno(), size, start)

    def close(self) -> None:
        with self._lock:
            self._file.close()


class Writing:
    """A new file, written under a name of its own in the folder of the old one, which it then replaces."""

    def __init__(self, folder: int, path: Parts, *, overwrite: bool) -> None:
        """Missing folders are made. Raises OSError, FileRefusedError, FileExistsAlreadyError."""
        self._path = path
        self._overwrite = overwrite
        self._temporary = temporary_name()
        self._lock = threading.Lock()
        with ExitStack() as stack:
            with opened_below(folder, path[:-1], make=True) as parent:
                self._parent = os.dup(parent)
            stack.callback(os.close, self._parent)
            mode = self._checked_mode()
            with suppress(OSError):  # a folder may be written to and not be read
                remove_leftovers(self._parent)
            descriptor = os.open(self._temporary, _CREATE, 0o600, dir_fd=self._parent)
            stack.callback(self._unlink_temporary)
            self._file = stack.enter_context(os.fdopen(descriptor, "wb", buffering=0))
            os.fchmod(descriptor, _FILE_MODE if mode is None else mode)
            self._closing = stack.pop_all()

    def write(self, data: bytes) -> None:
        rest = memoryview(data)
        with self._lock:
            while rest:
                rest = rest[self._file.write(rest) or 0 :]

    def finish(self) -> Written:
        with self._lock:
            entry = entry_of(self._path, os.fstat(self._file.fileno()))
            self._file.close()  # some file systems tell only now that they are full
            is_new = self._checked_mode() is None
            self._take_place()
            return Written(entry, is_new)

    def close(self) -> None:
        """What was not finished leaves nothing behind. Safe to call twice."""
        with self._lock:
            self._closing.close()

    def _take_place(self) -> None:
        name, here = self._path[-1], {"src_dir_fd": self._parent, "dst_dir_fd": self._parent}
        if self._overwrite:
            os.rename(self._temporary, name, **here)
            self._temporary = ""
        else:
            try:
                os.link(self._temporary, name, follow_symlinks=False, **here)
            except FileExistsError:
                raise FileExistsAlreadyError("/".join(self._path)) from None

    def _checked_mode(self) -> int | None:
        """The permissions of the file that is replaced, if one is. Raises for what is no regular file."""
        try:
            status = os.stat(self._path[-1], dir_fd=self._parent, follow_symlinks=False)
        except FileNotFoundError:
            return None
        if not self._overwrite:
            raise FileExistsAlreadyError("/".join(self._path))
        _check_regular(self._path, status.st_mode)
        return stat.S_IMODE(status.st_mode) & 0o777

    def _unlink_temporary(self) -> None:
        with suppress(FileNotFoundError):  # "" too: it has taken its place
            os.unlink(self._temporary, dir_fd=self._parent)


@contextmanager
def opened_below(folder: int, names: Sequence[str], *, make: bool = False) -> Iterator[int]:
    """The folder that these names lead to from the opened one, none of them a link. Raises OSError."""
    with ExitStack() as stack:
        for name in names:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(name, _FOLDER_MODE, dir_fd=folder)
            folder = stack.enter_context(opened(name, folder))
        yield folder


def remove(folder: int, path: Parts) -> None:
    """A file, a link itself, or an empty folder. Raises OSError."""
    with opened_below(folder, path[:-1]) as parent:
        status = os.stat(path[-1], dir_fd=parent, follow_symlinks=False)
        (os.rmdir if stat.S_ISDIR(status.st_mode) else os.unlink)(path[-1], dir_fd=parent)


def translated(error: OSError, path: str) -> ClaudeAgentError:
    """`path` as the caller gave it."""
    if error.errno == errno.ENOENT:
        return NoSuchFileError(path)
    if error.errno == errno.ENAMETOOLONG:
        return InvalidInputError("path", "is too long for the file system")
    if error.errno in FULL:
        return StorageFullError(f"no space left for {path!r}; nothing of it was kept")
    if (reason := _REASONS.get(error.errno or 0)) is not None:
        return FileRefusedError(path, reason)
    return WorkspaceError(f"{path!r} cannot be used: {error.strerror}")


def _check_regular(path: Parts, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise FileRefusedError("/".join(path), "is a folder; GET .../files?path= lists it")
    if not stat.S_ISREG(mode):
        raise FileRefusedError("/".join(path), _REASONS[errno.ELOOP if stat.S_ISLNK(mode) else errno.ENXIO])
