"""One service process per SQLite file: a lock that the kernel gives back however the process ends."""

import fcntl
import os
from pathlib import Path

from claude_agent_http.domain.errors import ServiceLockedError


class ServiceLock:
    """Held from `acquire` to `release` on `<database>.lock`, which holds the pid and stays on disk."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(database.name + ".lock")
        self._file: int | None = None

    def acquire(self) -> None:
        """Raises ServiceLockedError, OSError."""
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.truncate(file, 0)
            os.pwrite(file, str(os.getpid()).encode(), 0)
        except BlockingIOError:
            holder = os.pread(file, 20, 0).decode(errors="replace") or "unknown"
            os.close(file)
            raise ServiceLockedError(
                f"{self._path.name[:-5]}: process {holder} uses this database; stop it or choose another path"
            ) from None
        except BaseException:
            os.close(file)
            raise
        self._file = file

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
