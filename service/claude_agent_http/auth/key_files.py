"""API keys from a folder of files, read again when they change."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from claude_agent_http.auth.key_file import FileKey, KeyFileError, parse_key_file
from claude_agent_http.domain.api_key import digest_of
from claude_agent_http.domain.caller import Caller
from claude_agent_http.domain.errors import NotAuthenticatedError
from claude_agent_http.ports import Clock

__all__ = ["CheckedFile", "KeyFiles", "checked_files"]

_MOST_FILES = 1_000
_MOST_BYTES = 16_384
_log = structlog.get_logger(__name__)

_Marks = Mapping[str, tuple[int, int, int]]
"""Of each file its inode, size and time of change. A Secret's files are links, which lead elsewhere later."""


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """One file of a folder of keys. `fault` says why it opens nothing, `exposure` who else can read it; the
    texts hold nothing of a key."""

    name: str
    fault: str | None = None
    exposure: str | None = None


def checked_files(folder: Path) -> list[CheckedFile]:
    """Every file that `KeyFiles` would read, in order of name; none where there is no folder to be read."""
    try:
        names = sorted(_marks(folder))
    except OSError:
        return []
    return [_checked(folder / name) for name in names]


class KeyFiles:
    """Recognizes what the folder holds. A file that is wrong opens nothing, and the log says why; the others
    do."""

    def __init__(self, folder: Path, clock: Clock, *, poll_seconds: float = 2.0) -> None:
        self._folder = folder
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._marks: _Marks = {}
        self._by_digest: dict[str, FileKey] = {}

    def __len__(self) -> int:
        return len(self._by_digest)

    async def recognize(self, shown: str, *, suspect: bool = False) -> Caller | None:
        key = self._by_digest.get(digest_of(shown))
        if key is None:
            return None
        if key.expires_at is not None and key.expires_at <= self._clock.now():
            raise NotAuthenticatedError(f"the API key {key.name!r} expired at {key.expires_at.isoformat()}")
        return key.caller()

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """What the folder holds at the start is known inside, and what it holds later soon after."""
        await asyncio.to_thread(self.read)
        following = asyncio.create_task(self._follow(), name="files of API keys")
        try:
            yield
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._poll_seconds)
            try:
                await asyncio.to_thread(self.read)
            except Exception:
                _log.exception("the folder of API keys could not be read")

    def read(self) -> None:
        """Everything, where anything has changed. A folder that is gone holds nothing; if it only cannot be
        read just now, what is known stays."""
        try:
            marks = _marks(self._folder)
        except (FileNotFoundError, NotADirectoryError):
            marks = {}
        except OSError as error:
            _log.error("the folder of API keys cannot be read", reason=error.strerror)
            return
        if marks == self._marks:
            return
        self._marks = marks
        keys = [key for name in sorted(marks) if (key := _read(self._folder / name)) is not None]
        self._by_digest = {key.digest: key for key in reversed(keys)}
        _log.info("API keys were read from files", folder=str(self._folder), keys=[key.name for key in keys])


def _marks(folder: Path) -> _Marks:
    """Names that begin with a dot are the mount's own."""
    found: dict[str, tuple[int, int, int]] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith(".") and len(found) < _MOST_FILES and entry.is_file():
                with suppress(FileNotFoundError):  # removed meanwhile
                    status = entry.stat()
                    found[entry.name] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return found


def _read(path: Path) -> FileKey | None:
    try:
        return _parsed(path)
    except KeyFileError as error:
        _log.error("a file of an API key opens nothing", file=str(path), reason=str(error))
        return None


def _parsed(path: Path) -> FileKey:
    """Raises KeyFileError."""
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise KeyFileError(f"cannot be read: {error.strerror}") from None
    if not content.strip():
        raise KeyFileError("is empty")
    if len(content) > _MOST_BYTES:
        raise KeyFileError(f"is larger than {_MOST_BYTES} bytes")
    return parse_key_file(path.name, content)


def _checked(path: Path) -> CheckedFile:
    fault = None
    try:
        _parsed(path)
    except KeyFileError as error:
        fault = str(error)
    return CheckedFile(path.name, fault, _exposure(path))


def _exposure(path: Path) -> str | None:
    """A Secret's file is root's, and a service that is not root reads it as one of its group."""
    try:
        status = path.stat()
    except OSError:
        return None
    if status.st_mode & stat.S_IROTH:
        return "every user of the machine can read it"
    if status.st_mode & stat.S_IRGRP and status.st_uid == os.geteuid():
        return "its whole group can read it"
    return None
