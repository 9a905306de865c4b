"""What stands in and below an opened folder, in the order of the paths' parts, by pages. Blocking I/O.

Nothing is followed but folders, each opened by its name in the one before it."""

import heapq
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice

from claude_agent_http.disk.leftover import was_leftover
from claude_agent_http.disk.opened import opened
from claude_agent_http.domain.file import FileEntry, FileKind, FileListing

__all__ = ["entry_of", "list_entries"]

_MOST_NAMES = 100_000  # of one folder, so that no folder that an agent fills keeps a thread for long
_MOST_SEEN = 200_000  # of all folders of one page
_MOST_DEPTH = 64
_MOST_PATH_BYTES = 3000  # so that a path can be a page's end, in an address
_LAST_TIME = 253_402_300_799  # the end of the year 9999: an agent can set any time
_KINDS = {stat.S_IFREG: FileKind.FILE, stat.S_IFDIR: FileKind.DIRECTORY, stat.S_IFLNK: FileKind.SYMLINK}

Parts = tuple[str, ...]


def list_entries(folder: int, base: Parts, *, recursive: bool, limit: int, after: Parts) -> FileListing:
    """At most `limit` entries behind the path `after`, () for all; `base` is where the folder stands."""
    walk = _Walk(recursive=recursive, limit=limit, after=after)
    found = list(islice(walk.below(folder, base), limit + 1))
    shown = found[:limit]
    is_more = bool(shown) and (len(found) > limit or walk.ended_early)
    return FileListing(shown, shown[-1].path if is_more else None, walk.truncated)


def entry_of(path: Parts, status: os.stat_result) -> FileEntry:
    return FileEntry(
        path="/".join(path),
        kind=_KINDS.get(stat.S_IFMT(status.st_mode), FileKind.OTHER),
        size=status.st_size,
        modified_at=datetime.fromtimestamp(min(max(status.st_mtime, 0), _LAST_TIME), UTC),
        version=f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}",
    )


class _Walk:
    """`ended_early`: too many names were seen for one page, which has something all the same."""

    def __init__(self, *, recursive: bool, limit: int, after: Parts) -> None:
        self._recursive = recursive
        self._limit = limit
        self._after = after
        self._seen = 0
        self._given = 0
        self.truncated = False
        self.ended_early = False

    def below(self, folder: int, path: Parts) -> Iterator[FileEntry]:
        behind, are_left = "", True
        while are_left:
            names, are_left = self._names(folder, path, behind)
            for name in names:
                behind = name
                # By another's hand it may be gone by now, or be no folder any more.
                with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                    yield from self._at(folder, (*path, name))
                if self.ended_early:
                    return

    def _at(self, folder: int, path: Parts) -> Iterator[FileEntry]:
        if len(os.fsencode("/".join(path))) > _MOST_PATH_BYTES:
            self.truncated = True
            return
        status = os.stat(path[-1], dir_fd=folder, follow_symlinks=False)
        if was_leftover(path[-1], folder, status):
            return
        if path > self._after:
            self._given += 1
            yield entry_of(path, status)
        if not self._recursive or not stat.S_ISDIR(status.st_mode):
            return
        if len(path) >= _MOST_DEPTH:
            self.truncated = True
            return
        with opened(path[-1], folder) as inner:
            yield from self.below(inner, path)

    def _names(self, folder: int, path: Parts, behind: str) -> tuple[list[str], bool]:
        """The first names behind that one which may lead behind `after`, in order, and whether some are left:
        no more are sorted than one page can have."""
        if self._seen > _MOST_SEEN and self._given:
            self.ended_early = True
            return [], False
        with os.scandir(folder) as entries:
            names = [entry.name for entry in islice(entries, _MOST_NAMES + 1)]
        self._seen += len(names)
        self.truncated |= len(names) > _MOST_NAMES
        start = max(behind, self._least_name(path))
        wanted = [name for name in names[:_MOST_NAMES] if name >= start and name != behind]
        first = heapq.nsmallest(self._limit + 2, wanted)
        return first, len(first) < len(wanted)

    def _least_name(self, path: Parts) -> str:
        """In a folder on the way to `after` the earlier names lead nowhere behind it."""
        depth = len(path)
        is_on_the_way = len(self._after) > depth and self._after[:depth] == path
        return self._after[depth] if is_on_the_way else ""
