"""The temporary files of uploads, and what becomes of those that a killed service left. Blocking I/O.

Nobody keeps a list of them: whoever comes by an old one, to write beside it, to list it or to count it,
removes it.
"""

import os
import re
import stat
import time
from contextlib import suppress
from itertools import islice
from uuid import uuid4

__all__ = ["is_temporary", "remove_leftovers", "temporary_name", "was_leftover"]

_NAME = re.compile(r"\.upload-[0-9a-f]{32}")
_DEAD_SECONDS = 3600.0
"""No upload lets so much time pass between two pieces (`api/body_limit.py`)."""
_MOST_NAMES = 10_000


def temporary_name() -> str:
    return f".upload-{uuid4().hex}"


def is_temporary(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def was_leftover(name: str, folder: int, status: os.stat_result) -> bool:
    """Whether what stands there belonged to an upload that is dead, and is gone now."""
    if not is_temporary(name) or not stat.S_ISREG(status.st_mode):
        return False
    if time.time() - status.st_mtime < _DEAD_SECONDS:
        return False
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return True
    except OSError:  # the folder is closed by now, or read-only
        return False
    return True


def remove_leftovers(folder: int) -> None:
    """All that stand in the opened folder, as far as it has no more names than anybody reads for that."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in islice(entries, _MOST_NAMES) if is_temporary(entry.name)]
    for name in names:
        with suppress(FileNotFoundError):
            was_leftover(name, folder, os.stat(name, dir_fd=folder, follow_symlinks=False))
