"""A small file that is read again when it changes: a mounted Secret, or what `<NAME>_FILE` names."""

import os
from pathlib import Path

__all__ = ["SecretFile", "SecretFileError"]

_MAX_BYTES = 64 * 1024


class SecretFileError(Exception):
    """The file does not tell what it should; the text names the file and holds nothing of it."""


class SecretFile:
    """A mounted Secret is replaced by renaming a link to its folder, so the path is followed each time."""

    def __init__(self, path: Path, *, may_miss: bool = False) -> None:
        self._path = path
        self._may_miss = may_miss
        self._seen: tuple[int, ...] | None = None
        self._text: str | None = None

    def read(self) -> str | None:
        """The text without space round it; None for a missing file that may miss. Raises SecretFileError."""
        try:
            return self._read()
        except FileNotFoundError:
            if self._may_miss:
                return None
            raise SecretFileError(f"the file {self._path} does not exist") from None
        except OSError as error:
            raise SecretFileError(f"the file {self._path} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise SecretFileError(f"the file {self._path} is not text") from None

    def _read(self) -> str:
        with self._path.open("rb") as file:
            status = os.fstat(file.fileno())
            now = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
            if self._text is None or now != self._seen:
                self._seen, self._text = now, self._checked(file.read(_MAX_BYTES + 1))
            return self._text

    def _checked(self, content: bytes) -> str:
        text = content.decode("utf-8").strip()
        if len(content) > _MAX_BYTES:
            raise SecretFileError(f"the file {self._path} is too large for a secret")
        if not text:
            raise SecretFileError(f"the file {self._path} is empty")
        return text
