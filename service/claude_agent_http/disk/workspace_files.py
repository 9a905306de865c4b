"""The files of sessions' workspaces, for those who ask over HTTP: blocking work in few threads of its own."""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from claude_agent_http.disk.entries import Parts, list_entries
from claude_agent_http.disk.files import Reading, Writing, opened_below, remove, translated
from claude_agent_http.disk.leftover import is_temporary
from claude_agent_http.disk.opened import reached
from claude_agent_http.disk.shares import Shares
from claude_agent_http.disk.workspaces import check_part, check_user, checked_parts
from claude_agent_http.domain.errors import FilesElsewhereError, InvalidInputError
from claude_agent_http.domain.file import FileEntry, FileListing, Written
from claude_agent_http.domain.session import Session

__all__ = ["FolderFiles", "OpenFile"]

_THREADS = 8
_MOST, _OF_ONE_USER = 64, 8
_CHUNK_BYTES = 256 * 1024
_MAX_PATH = 1000
_MAX_PARTS = 32
_ELSEWHERE = "ask the replica that has it, or send the session a message, which makes it anew"

_T = TypeVar("_T")
_Handle = TypeVar("_Handle", Reading, Writing)


class _Run(Protocol):
    async def __call__(self, step: Callable[..., _T], *given: object) -> _T: ...


class FolderFiles:
    """See `api.files_port`. Folders lie below `base` as `FolderWorkspaces` has them.

    A step of work (one chunk, one page) takes a thread; a client that is slow holds none, but a place among
    the transfers. What is one step has places of its own: they are never held for long. `most` places there
    are of each kind, `of_one_user` of them for one user."""

    def __init__(self, base: Path, *, most: int = _MOST, of_one_user: int = _OF_ONE_USER) -> None:
        self._base = base
        self._threads = ThreadPoolExecutor(_THREADS, "workspace-files")
        self._transfers = Shares("files that are read or written", most, of_one_user)
        self._steps = Shares("folders that are listed and files that are deleted", most, of_one_user)

    def close(self) -> None:
        """Waits for the steps under way."""
        self._threads.shutdown()

    async def list(
        self, session: Session, path: str, *, recursive: bool, limit: int, after: str | None
    ) -> FileListing:
        base = _parts(path) if path else ()
        behind = tuple(after.split("/")) if after else ()

        def step() -> FileListing:
            with self._workspace(session) as folder, opened_below(folder, base) as inner:
                return list_entries(inner, base, recursive=recursive, limit=limit, after=behind)

        with self._steps.one(session.user_id):
            return await self._done(step, path)

    async def open(self, session: Session, path: str) -> "OpenFile":
        parts = _parts(path)

        def step() -> Reading:
            with self._workspace(session) as folder:
                return Reading(folder, parts)

        self._transfers.take(session.user_id)
        try:
            reading = await self._opened(step, path)
        except BaseException:
            self._transfers.give_back(session.user_id)
            raise
        return OpenFile(reading, self._in_thread, partial(self._transfers.give_back, session.user_id))

    async def write(
        self, session: Session, path: str, chunks: AsyncIterable[bytes], *, overwrite: bool
    ) -> Written:
        parts = _new_parts(path)

        def step() -> Writing:
            with self._workspace(session) as folder:
                return Writing(folder, parts, overwrite=overwrite)

        with self._transfers.one(session.user_id):
            writing = await self._opened(step, path)
            try:
                async for chunk in chunks:
                    await self._done(writing.write, path, chunk)
                return await self._done(writing.finish, path)
            finally:
                await self._done(writing.close, path)

    async def delete(self, session: Session, path: str) -> None:
        parts = _parts(path)

        def step() -> None:
            with self._workspace(session) as folder:
                remove(folder, parts)

        with self._steps.one(session.user_id):
            await self._done(step, path)

    @contextmanager
    def _workspace(self, session: Session) -> Iterator[int]:
        """Its opened folder. Raises FilesElsewhereError."""
        check_user(session.user_id)
        names = (session.user_id, *checked_parts(session.subdir))
        elsewhere = FilesElsewhereError(session.id, session.cwd, _ELSEWHERE)
        if os.path.join(os.path.realpath(self._base), *names) != session.cwd:
            raise elsewhere
        with ExitStack() as stack:
            try:
                folder = stack.enter_context(reached(names, self._base))
            except OSError:
                raise elsewhere from None
            yield folder

    async def _opened(self, step: Callable[[], _Handle], path: str) -> _Handle:
        """Who is cancelled meanwhile leaves nothing open."""
        opening = self._threads.submit(step)
        try:
            return await asyncio.shield(asyncio.wrap_future(opening))
        except asyncio.CancelledError:
            opening.add_done_callback(_closed)
            raise
        except OSError as error:
            raise translated(error, path) from error

    async def _done(self, step: Callable[..., _T], path: str, *given: bytes) -> _T:
        try:
            return await self._in_thread(step, *given)
        except OSError as error:
            raise translated(error, path) from error

    async def _in_thread(self, step: Callable[..., _T], *given: object) -> _T:
        """To its end, though who waits for it is cancelled."""
        return await asyncio.shield(asyncio.wrap_future(self._threads.submit(step, *given)))


class OpenFile:
    """A file to be read once. To be closed."""

    def __init__(self, reading: Reading, run: _Run, closed: Callable[[], None]) -> None:
        self._reading = reading
        self._run = run
        self._closed: Callable[[], None] | None = closed

    @property
    def entry(self) -> FileEntry:
        return self._reading.entry

    async def chunks(self, start: int = 0, size: int | None = None) -> AsyncGenerator[bytes]:
        """Fewer bytes when it has become shorter since it was opened. Raises WorkspaceError."""
        at, end = start, self.entry.size if size is None else start + size
        while at < end:
            try:
                chunk = await self._run(self._reading.read, at, min(end - at, _CHUNK_BYTES))
            except OSError as error:
                raise translated(error, self.entry.path) from error
            if not chunk:
                return
            at += len(chunk)
            yield chunk

    async def close(self) -> None:
        """Safe to call twice."""
        closed, self._closed = self._closed, None
        if closed is not None:
            closed()
            await self._run(self._reading.close)


def _closed(opening: Future[_Handle]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def _parts(path: str) -> Parts:
    """Of what is there already, which an agent may have named as it likes. Raises InvalidInputError."""
    if len(path) > _MAX_PATH or "\0" in path:
        raise InvalidInputError("path", f"must be at most {_MAX_PATH} characters, none of them NUL")
    parts = tuple(path.removesuffix("/").split("/"))
    if len(parts) > _MAX_PARTS:
        raise InvalidInputError("path", f"must not lead through more than {_MAX_PARTS} folders")
    if any(part in ("", ".", "..") for part in parts):
        raise InvalidInputError("path", "must be relative to the session's folder, without '.' or '..'")
    return parts


def _new_parts(path: str) -> Parts:
    """Of what may be made by a name of the caller's. Raises InvalidInputError."""
    parts = _parts(path)
    for part in parts:
        check_part("path", part)
    if is_temporary(parts[-1]):
        raise InvalidInputError(
            "path", "is a name that uploads have while they are under way; choose another"
        )
    return parts
