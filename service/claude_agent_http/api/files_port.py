"""What the routes of files need of the disk; the composition root gives it."""

from collections.abc import AsyncGenerator, AsyncIterable
from typing import Protocol

from claude_agent_http.domain.file import FileEntry, FileListing, Written
from claude_agent_http.domain.session import Session

__all__ = ["ReadableFile", "WorkspaceFiles"]


class ReadableFile(Protocol):
    @property
    def entry(self) -> FileEntry: ...

    def chunks(self, start: int = 0, size: int | None = None) -> AsyncGenerator[bytes]:
        """So many bytes of its content from there, None for all of the size that the entry tells; fewer when
        it became shorter meanwhile."""
        ...

    async def close(self) -> None:
        """Safe to call twice."""
        ...


class WorkspaceFiles(Protocol):
    """`path` is relative to the session's workspace. No link is ever followed.

    Every method raises InvalidInputError, NoSuchFileError, FileRefusedError, FilesElsewhereError,
    WorkspaceError, and BusyError when too many files are open."""

    async def list(
        self, session: Session, path: str, *, recursive: bool, limit: int, after: str | None
    ) -> FileListing:
        """What stands in the folder ("" the workspace), in the order of the paths' parts, behind `after`."""
        ...

    async def open(self, session: Session, path: str) -> ReadableFile:
        """A regular file, for the caller to close."""
        ...

    async def write(
        self, session: Session, path: str, chunks: AsyncIterable[bytes], *, overwrite: bool
    ) -> Written:
        """All of it or nothing; missing folders are made. What `chunks` raises is raised.

        Raises also StorageFullError, and FileExistsAlreadyError unless `overwrite`.
        """
        ...

    async def delete(self, session: Session, path: str) -> None:
        """A file, a link itself, or an empty folder."""
        ...
