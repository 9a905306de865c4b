"""Removing a folder with all that is in it, whatever an agent made of it. Blocking I/O."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from threading import Event
from uuid import uuid4

from claude_agent_http.disk.opened import is_folder, open_up, opened

__all__ = ["remove_tree"]

_ROUNDS = 5


def remove_tree(name: str, folder: int, stop: Event | None = None) -> int:
    """Remove what stands under `name` in the opened `folder`, if anything; how many files and links went.

    A link is removed, never followed, also one that is put in the way meanwhile. Folders without permissions
    are given them first. What can be removed is, then the first failure is raised: an OSError whose
    `filename` is where that stands now, below `folder`. A repeat goes on where a crash or `stop` ended this.
    """
    sweep = _Sweep(name, stop or Event())
    with sweep.tried(PurePath(name)):
        sweep.remove(folder)
    if sweep.failure is not None:
        raise sweep.failure
    return sweep.files


class _Sweep:
    """Folders are not descended into but moved up to the first one: an agent can nest them deeper than
    Python has stack or a process descriptors."""

    def __init__(self, name: str, stop: Event) -> None:
        self._name = name
        self._stop = stop
        self.files = 0
        self.failure: OSError | None = None

    @contextmanager
    def tried(self, path: PurePath) -> Iterator[None]:
        """What is gone already, by another's hand, is no failure."""
        try:
            yield
        except FileNotFoundError:
            return
        except OSError as error:
            self.failure = self.failure or OSError(error.errno, error.strerror, str(path))

    def remove(self, folder: int) -> None:
        if not is_folder(self._name, folder):
            self._unlink(self._name, folder)
            return
        open_up(self._name, folder)
        with opened(self._name, folder) as top:
            for _ in range(_ROUNDS):  # Another replica that removes the same tree moves folders up as well.
                self._empty(top)
                if self.failure is not None or self._stop.is_set() or not os.listdir(top):
                    break
        if self.failure is None and not self._stop.is_set():
            os.rmdir(self._name, dir_fd=folder)

    def _empty(self, top: int) -> None:
        seen: set[str] = set()
        while names := set(os.listdir(top)) - seen:
            for name in names:
                if self._stop.is_set():
                    return
                with self.tried(PurePath(self._name, name)):
                    self._remove_level(name, top)
            seen |= names

    def _remove_level(self, name: str, top: int) -> None:
        """A file; or a folder, whose own folders have been moved up."""
        if not is_folder(name, top):
            self._unlink(name, top)
            return
        open_up(name, top)
        with opened(name, top) as inner:
            for each in os.listdir(inner):
                if self._stop.is_set():
                    return
                with self.tried(PurePath(self._name, name, each)):
                    self._take_out(each, inner, top)
        os.rmdir(name, dir_fd=top)

    def _take_out(self, name: str, inner: int, top: int) -> None:
        if not is_folder(name, inner):
            self._unlink(name, inner)
            return
        open_up(name, inner)  # else it may not be moved
        os.rename(name, uuid4().hex, src_dir_fd=inner, dst_dir_fd=top)

    def _unlink(self, name: str, folder: int) -> None:
        os.unlink(name, dir_fd=folder)
        self.files += 1
