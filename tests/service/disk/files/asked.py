"""What the tests ask of a workspace's files."""

from collections.abc import AsyncIterator

from claude_agent_http.disk import FolderFiles
from claude_agent_http.domain.file import FileListing
from claude_agent_http.domain.session import Session

__all__ = ["content", "listed", "paths", "pieces"]


async def pieces(*given: bytes) -> AsyncIterator[bytes]:
    for piece in given:
        yield piece


async def listed(files: FolderFiles, session: Session, path: str = "", **options: object) -> FileListing:
    asked = {"recursive": True, "limit": 1000, "after": None, **options}
    return await files.list(session, path, **asked)  # type: ignore[arg-type]


async def paths(files: FolderFiles, session: Session, path: str = "", **options: object) -> list[str]:
    return [entry.path for entry in (await listed(files, session, path, **options)).entries]


async def content(files: FolderFiles, session: Session, path: str) -> bytes:
    file = await files.open(session, path)
    try:
        return b"".join([chunk async for chunk in file.chunks()])
    finally:
        await file.close()
