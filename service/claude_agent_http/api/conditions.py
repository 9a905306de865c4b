"""What a client wants of a file that it may have already, wholly or in part (RFC 9110, 13 and 14)."""

import re
from dataclasses import dataclass

from starlette.exceptions import HTTPException

__all__ = ["Span", "asked_span", "is_known"]

_RANGE = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Span:
    """`size` bytes from `start`, of a file of `whole`."""

    start: int
    size: int
    whole: int

    @property
    def content_range(self) -> str:
        return f"bytes {self.start}-{self.start + self.size - 1}/{self.whole}"


def is_known(if_none_match: str | None, tag: str) -> bool:
    """Whether the client has what bears this tag."""
    if if_none_match is None:
        return False
    shown = {one.strip().removeprefix("W/") for one in if_none_match.split(",")}
    return tag in shown or shown == {"*"}


def asked_span(range_: str | None, if_range: str | None, tag: str, size: int) -> Span | None:
    """None for the whole file: nothing less is asked for, or several pieces, or what is no range of bytes, or
    pieces of another version than this one. Raises HTTPException (416) for what lies behind the end."""
    found = None if range_ is None else _RANGE.fullmatch(range_)
    if found is None or found[1] == found[2] == "" or if_range not in (None, tag):
        return None
    if not found[1]:
        start, end = max(0, size - int(found[2])), size
    else:
        start, end = int(found[1]), min(size, int(found[2]) + 1) if found[2] else size
        if found[2] and int(found[2]) < start:
            return None
    if start >= end:
        said = f"the file has {size} bytes, and none of those that `Range` asks for"
        raise HTTPException(416, said, {"Content-Range": f"bytes */{size}"})
    return Span(start, end - start, size)
