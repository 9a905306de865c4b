"""The files of a session's workspace: list, download, upload and delete."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from claude_agent_http.api.access import OWNER
from claude_agent_http.api.cursors import from_page, to_page
from claude_agent_http.api.download import Asked, download, etag, head
from claude_agent_http.api.file_path import FILE, FilePath, FolderPath
from claude_agent_http.api.json_text import ExactJSONResponse
from claude_agent_http.api.models import FilePage, FileView
from claude_agent_http.api.openapi import BINARY, documented
from claude_agent_http.api.parts import CurrentEngine, CurrentFiles, OpenSession
from claude_agent_http.domain.errors import InvalidInputError

router = APIRouter(prefix="/api/v1/sessions/{session_id}/files", tags=["files"], dependencies=[OWNER])

_PIECE_BYTES = 256 * 1024
_NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "It is what the client has already."}}


async def _asked(
    if_none_match: Annotated[str | None, Header(description="The `ETag` that is there already: 304.")] = None,
    range_: Annotated[
        str | None, Header(alias="Range", description="One part: `bytes=0-99`, `bytes=100-`, `bytes=-100`.")
    ] = None,
    if_range: Annotated[
        str | None, Header(description="`Range` counts only while this is the `ETag`.")
    ] = None,
) -> Asked:
    return Asked(if_none_match, range_, if_range)


async def _known(
    if_none_match: Annotated[str | None, Header(description="The `ETag` that is there already: 304.")] = None,
) -> Asked:
    return Asked(if_none_match)


async def _whole_and_plain(request: Request) -> None:
    """A part must not replace the whole, nor what is packed be taken for the file."""
    if "content-range" in request.headers:
        raise HTTPException(400, "a part of a file cannot be put; send the whole, without `Content-Range`")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        said = "files are kept as they come; send it without `Content-Encoding`"
        raise HTTPException(415, said, {"Accept-Encoding": "identity"})


@router.get("", summary="List files", response_model=FilePage, responses=documented(404, 409, 422, 429))
async def list_files(
    session: OpenSession,
    files: CurrentFiles,
    path: FolderPath,
    recursive: Annotated[bool, Query(description="Also what stands in the folders below.")] = False,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    page: Annotated[str | None, Query(max_length=4000, description="`next_page` of the page before.")] = None,
) -> Response:
    """In the order of the paths. Links are listed, and never followed; `truncated` says that a folder is too
    large, or too deep, to be listed whole."""
    after = None if page is None else from_page(page)
    found = await files.list(session, path, recursive=recursive, limit=limit, after=after)
    next_page = None if found.next_after is None else to_page(found.next_after)
    data = [FileView.of(entry).model_dump(mode="json") for entry in found.entries]
    return ExactJSONResponse({"data": data, "next_page": next_page, "truncated": found.truncated})


@router.get(
    FILE,
    summary="Download a file",
    response_class=Response,
    responses={
        200: {"description": "The file, byte for byte.", "content": BINARY},
        206: {"description": "The part that `Range` asks for.", "content": BINARY},
        **_NOT_MODIFIED,
        **documented(404, 409, 416, 422, 429),
    },
)
async def get_file(
    session: OpenSession, path: FilePath, files: CurrentFiles, asked: Annotated[Asked, Depends(_asked)]
) -> Response:
    """Always as an attachment of type `application/octet-stream`: an agent's file is never shown as a page of
    this service. Of a file that becomes shorter meanwhile the connection is cut. Of several parts in `Range`
    the whole file comes."""
    return await download(await files.open(session, path), asked)


@router.head(
    FILE,
    summary="Look at a file",
    response_class=Response,
    responses={
        200: {"description": "The headers of a download."},
        **_NOT_MODIFIED,
        **documented(404, 409, 422, 429),
    },
)
async def look_at_file(
    session: OpenSession, path: FilePath, files: CurrentFiles, asked: Annotated[Asked, Depends(_known)]
) -> Response:
    return await head(await files.open(session, path), asked)


@router.put(
    FILE,
    dependencies=[Depends(_whole_and_plain)],
    summary="Upload a file",
    responses={
        201: {"model": FileView, "description": "The file is new."},
        **documented(400, 404, 408, 409, 412, 413, 415, 422, 429, 507),
    },
    openapi_extra={"requestBody": {"required": True, "content": BINARY}},
)
async def upload(
    session: OpenSession,
    path: FilePath,
    engine: CurrentEngine,
    files: CurrentFiles,
    request: Request,
    response: Response,
    if_none_match: Annotated[str | None, Header(description="`*`: do not overwrite.")] = None,
) -> FileView:
    """The body becomes the file, whole or not at all; missing folders are made. A file that is replaced keeps
    its permissions. The agent sees it at once, also in the middle of a turn."""
    if if_none_match not in (None, "*"):
        raise InvalidInputError("If-None-Match", "can only be `*`, which keeps a file that is there")
    await engine.check_disk(session)
    written = await files.write(session, path, _body(request), overwrite=if_none_match is None)
    response.status_code = 201 if written.is_new else 200
    response.headers["ETag"] = etag(written.entry)
    return FileView.of(written.entry)


@router.delete(FILE, status_code=204, summary="Delete a file", responses=documented(404, 409, 422, 429))
async def delete(session: OpenSession, path: FilePath, files: CurrentFiles) -> None:
    """A file, a link (not what it leads to), or an empty folder."""
    await files.delete(session, path)


async def _body(request: Request) -> AsyncIterator[bytes]:
    """In pieces that are worth a thread's while."""
    gathered = bytearray()
    try:
        async for chunk in request.stream():
            gathered += chunk
            if len(gathered) >= _PIECE_BYTES:
                yield bytes(gathered)
                gathered.clear()
        yield bytes(gathered)
    except ClientDisconnect:
        raise HTTPException(400, "the body ended before it was whole; nothing of it was kept") from None
