"""Paths of files in addresses, byte for byte: an agent may give a file a name that is no text."""

from typing import Annotated
from urllib.parse import parse_qsl, unquote_to_bytes

from fastapi import Depends, Path, Query, Request
from starlette.convertors import PathConvertor, register_url_convertor

__all__ = ["FILE", "FilePath", "FolderPath"]


class _AnyPath(PathConvertor):
    """The framework's own knows no line breaks."""

    regex = "(?s:.*)"


register_url_convertor("file", _AnyPath())
FILE = "/{path:file}"
"""The end of a route of one file."""


async def _file_path(
    request: Request,
    path: Annotated[
        str,
        Path(description="Relative to the session's folder; `/` between folders.", examples=["notes.txt"]),
    ],
) -> str:
    """The server has put U+FFFD in the place of bytes that are no UTF-8; here they are lone surrogates, as
    Python has them in names of files, and as a list of files shows them."""
    raw: bytes | None = request.scope.get("raw_path")
    if raw is None:
        return path
    exact = unquote_to_bytes(raw).decode("utf-8", "surrogateescape")
    return "/".join(exact.split("/")[-1 - path.count("/") :])


async def _folder_path(
    request: Request,
    path: Annotated[str, Query(max_length=1000, description="A folder; else the session's own.")] = "",
) -> str:
    query = request.scope["query_string"].decode("latin-1")
    given = parse_qsl(query, keep_blank_values=True, errors="surrogateescape")
    return [value for name, value in given if name == "path"][-1] if path else ""


FilePath = Annotated[str, Depends(_file_path)]
FolderPath = Annotated[str, Depends(_folder_path)]
