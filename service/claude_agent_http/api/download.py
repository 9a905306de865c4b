"""A file on its way to a client."""

import asyncio
from email.utils import format_datetime
from pathlib import PurePosixPath
from urllib.parse import quote

from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from claude_agent_http.api.files_port import ReadableFile
from claude_agent_http.domain.file import FileEntry

__all__ = ["Download", "etag"]

_SEND_SECONDS = 30.0


class Download(StreamingResponse):
    """Closes the file whatever happens. A client that takes nothing for 30 s is gone."""

    def __init__(self, file: ReadableFile) -> None:
        headers = {
            "Content-Length": str(file.entry.size),
            "Content-Disposition": _disposition(file.entry),
            "ETag": etag(file.entry),
            "Last-Modified": format_datetime(file.entry.modified_at, usegmt=True),
            "Cache-Control": "private, no-cache",
            # Whatever an agent wrote, no browser shall take it for a page or a script of ours.
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox",
        }
        super().__init__(file.chunks(), headers=headers, media_type="application/octet-stream")
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(_SEND_SECONDS):
                await send(message)

        try:
            await super().__call__(scope, receive, send_in_time)
        except TimeoutError:
            return  # the server cuts a connection whose response is not whole
        finally:
            await self._file.close()


def etag(entry: FileEntry) -> str:
    return f'"{entry.version}"'


def _disposition(entry: FileEntry) -> str:
    name = quote(PurePosixPath(entry.path).name, safe="", errors="replace")
    return f"attachment; filename*=UTF-8''{name}"
