"""A file on its way to a client."""

import asyncio
from dataclasses import dataclass
from email.utils import format_datetime
from pathlib import PurePosixPath
from urllib.parse import quote

from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from claude_agent_http.api.conditions import Span, asked_span, is_known
from claude_agent_http.api.files_port import ReadableFile
from claude_agent_http.domain.file import FileEntry

__all__ = ["Asked", "Download", "download", "etag", "head"]

_SEND_SECONDS = 30.0
_MEDIA_TYPE = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the client says of the file; each as the header of that name."""

    if_none_match: str | None = None
    range: str | None = None
    if_range: str | None = None


async def download(file: ReadableFile, asked: Asked) -> Response:
    """The file, or the part of it that is asked for; 304 for who has it. Raises HTTPException (416)."""
    tag = etag(file.entry)
    if is_known(asked.if_none_match, tag):
        await file.close()
        return Response(status_code=304, headers=_of_version(file.entry))
    try:
        span = asked_span(asked.range, asked.if_range, tag, file.entry.size)
    except BaseException:
        await file.close()
        raise
    return Download(file, span)


async def head(file: ReadableFile, asked: Asked) -> Response:
    """What `download` would say of the whole file, without it."""
    await file.close()
    if is_known(asked.if_none_match, etag(file.entry)):
        return Response(status_code=304, headers=_of_version(file.entry))
    headers = {"Content-Length": str(file.entry.size), **_of_file(file.entry)}
    return Response(headers=headers, media_type=_MEDIA_TYPE)


class Download(StreamingResponse):
    """Closes the file whatever happens. A client that takes nothing for 30 s is gone."""

    def __init__(self, file: ReadableFile, span: Span | None = None) -> None:
        part = span or Span(0, file.entry.size, file.entry.size)
        headers = {"Content-Length": str(part.size), **_of_file(file.entry)}
        if span is not None:
            headers["Content-Range"] = span.content_range
        chunks = file.chunks(part.start, part.size)
        super().__init__(chunks, 200 if span is None else 206, headers=headers, media_type=_MEDIA_TYPE)
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


def _of_file(entry: FileEntry) -> dict[str, str]:
    return {
        **_of_version(entry),
        "Accept-Ranges": "bytes",
        "Content-Disposition": _disposition(entry),
        "Last-Modified": format_datetime(entry.modified_at, usegmt=True),
        # Whatever an agent wrote, no browser shall take it for a page or a script of ours.
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }


def _of_version(entry: FileEntry) -> dict[str, str]:
    return {"ETag": etag(entry), "Cache-Control": "private, no-cache"}


def etag(entry: FileEntry) -> str:
    return f'"{entry.version}"'


def _disposition(entry: FileEntry) -> str:
    name = quote(PurePosixPath(entry.path).name, safe="", errors="replace")
    return f"attachment; filename*=UTF-8''{name}"
