"""What stands in a session's workspace, as it was at one moment."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class FileKind(StrEnum):
    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class FileEntry:
    """`path` is relative to the workspace, `size` in bytes; `version` changes when the content may have."""

    path: str
    kind: FileKind
    size: int
    modified_at: datetime
    version: str


@dataclass(frozen=True, slots=True)
class FileListing:
    """`next_after` is the path to go on behind, None when there is nothing more. `truncated`: a folder is so
    large, or so deep, that not all of it is listed."""

    entries: Sequence[FileEntry]
    next_after: str | None = None
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """`is_new`: it replaced nothing."""

    entry: FileEntry
    is_new: bool
