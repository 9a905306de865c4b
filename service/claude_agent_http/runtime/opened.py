"""Folders held by descriptors: a name below one cannot come to mean another place."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["opened"]


@contextmanager
def opened(path: str | Path, folder: int | None = None) -> Iterator[int]:
    """A folder, below the opened `folder` if given. Raises OSError, also when it is a link or a file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
