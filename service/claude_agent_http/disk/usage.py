"""How much of the disk a user takes: the user's folder, and what runtimes left of the user's sessions.

Agents work in these folders meanwhile, so each is opened below the opened one before it and no link is
followed. What is counted is what the disk gave (`st_blocks`), a file of several names once.
"""

import asyncio
import os
import stat
import time
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Event

import structlog

from claude_agent_http.disk.leftover import was_leftover
from claude_agent_http.disk.opened import open_up, opened
from claude_agent_http.disk.owners import sessions_of
from claude_agent_http.disk.workspaces import check_user
from claude_agent_http.domain.disk import DiskUsage

__all__ = ["FolderUsage"]

_THREADS = 2
_FRESH_SECONDS = 5.0
_WAIT_SECONDS = 2.0
_COUNT_SECONDS = 60.0
_MOST_ENTRIES = 1_000_000
_MOST_DEPTH = 100
_MOST_USERS = 10_000
_BLOCK = 512
_log = structlog.get_logger(__name__)


class FolderUsage:
    """See `ports.DiskGauge`. Close it at the end."""

    def __init__(self, base_dir: Path, state_dir: Path) -> None:
        self._base_dir = base_dir
        self._state_dir = state_dir
        self._stop = Event()
        self._threads = ThreadPoolExecutor(_THREADS, "disk-usage")
        self._known: OrderedDict[str, tuple[float, DiskUsage]] = OrderedDict()
        self._counting: dict[str, asyncio.Future[DiskUsage]] = {}

    async def used(self, user_id: str, *, anew: bool = False) -> DiskUsage | None:
        at, usage = self._known.get(user_id, (0.0, None))
        if usage is not None and not anew and time.monotonic() - at < _FRESH_SECONDS:
            return usage
        counting = self._counting.get(user_id) or self._count(user_id)
        await asyncio.wait((counting,), timeout=_WAIT_SECONDS)
        _, usage = self._known.get(user_id, (0.0, None))
        return usage

    def close(self) -> None:
        self._stop.set()
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _count(self, user_id: str) -> asyncio.Future[DiskUsage]:
        """In a thread, once for all who ask meanwhile; it goes on when nobody waits any more."""
        loop = asyncio.get_running_loop()
        work = _Count(self._base_dir, self._state_dir, user_id, self._stop)
        counting = loop.run_in_executor(self._threads, work.run)
        self._counting[user_id] = counting
        counting.add_done_callback(lambda done: self._counted(user_id, done))
        return counting

    def _counted(self, user_id: str, done: asyncio.Future[DiskUsage]) -> None:
        del self._counting[user_id]
        if done.cancelled():
            return
        if (error := done.exception()) is not None:
            _log.warning("a user's files could not be counted", user_id=user_id, reason=str(error))
            return
        self._known[user_id] = (time.monotonic(), done.result())
        self._known.move_to_end(user_id)
        if len(self._known) > _MOST_USERS:
            self._known.popitem(last=False)


class _EndlessError(Exception):
    """There is more than anybody counts; the text says of what."""


class _Count:
    """One user, once. What is gone meanwhile, by another's hand, takes nothing."""

    def __init__(self, base_dir: Path, state_dir: Path, user_id: str, stop: Event) -> None:
        check_user(user_id)
        self._base_dir = base_dir
        self._state_dir = state_dir
        self._user_id = user_id
        self._stop = stop
        self._until = 0.0
        self._entries = 0
        self._bytes = 0
        self._linked: set[tuple[int, int]] = set()

    def run(self) -> DiskUsage:
        """When its time is up, what was found until then. Raises OSError."""
        self._until = time.monotonic() + _COUNT_SECONDS
        try:
            self._add_below(self._base_dir, [self._user_id])
            self._add_below(self._state_dir, sessions_of(self._state_dir, self._user_id))
        except _EndlessError as error:
            return DiskUsage(self._bytes, str(error))
        except TimeoutError:
            _log.warning("a user's files were not all counted in time", user_id=self._user_id)
        return DiskUsage(self._bytes)

    def _add_below(self, base: Path, names: list[str]) -> None:
        with suppress(FileNotFoundError), opened(base.resolve()) as folder:
            for name in names:
                with suppress(FileNotFoundError, NotADirectoryError):
                    self._add_folder(name, folder, 0)

    def _add_folder(self, name: str, parent: int, depth: int) -> None:
        if depth > _MOST_DEPTH:
            raise _EndlessError(f"the user's folders are nested deeper than {_MOST_DEPTH} levels")
        with _readable(name, parent) as folder, os.scandir(folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError, NotADirectoryError):
                    self._add(entry.name, folder, depth)

    def _add(self, name: str, folder: int, depth: int) -> None:
        self._entries += 1
        if self._entries > _MOST_ENTRIES:
            raise _EndlessError(f"the user has more than {_MOST_ENTRIES} files")
        if self._stop.is_set() or time.monotonic() > self._until:
            raise TimeoutError
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if was_leftover(name, folder, found):
            return
        if found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode):
            if (found.st_dev, found.st_ino) in self._linked:
                return
            self._linked.add((found.st_dev, found.st_ino))
        self._bytes += found.st_blocks * _BLOCK
        if stat.S_ISDIR(found.st_mode):
            self._add_folder(name, folder, depth + 1)


@contextmanager
def _readable(name: str, parent: int) -> Iterator[int]:
    """An agent can close a folder to hide what is in it, and open it again."""
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(opened(name, parent))
        except PermissionError:
            open_up(name, parent)
            folder = stack.enter_context(opened(name, parent))
        yield folder
