"""Where the next page of a list begins, as an opaque text."""

import base64
import binascii
import re

from claude_agent_http.domain.errors import InvalidInputError

__all__ = ["from_cursor", "from_page", "no_cursor", "to_cursor", "to_page"]

_CURSOR = re.compile(r"seq:(\d{1,16})")


def to_cursor(seq: int) -> str:
    return to_page(f"seq:{seq}")


def from_cursor(cursor: str) -> int:
    """The seq to go on after. Raises InvalidInputError for what `to_cursor` did not make."""
    found = _CURSOR.fullmatch(from_page(cursor))
    if found is None:
        raise no_cursor()
    return int(found[1])


def to_page(place: str) -> str:
    """An opaque cursor. A file's name may be no valid Unicode."""
    return base64.urlsafe_b64encode(place.encode("utf-8", "surrogateescape")).decode().rstrip("=")


def from_page(cursor: str) -> str:
    """The place to go on after. Raises InvalidInputError for what `to_page` cannot have made."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return base64.b64decode(padded, b"-_", validate=True).decode("utf-8", "surrogateescape")
    except (binascii.Error, ValueError):
        raise no_cursor() from None


def no_cursor() -> InvalidInputError:
    """Of a `page` that no `next_page` was."""
    return InvalidInputError("page", "is no cursor of ours; take it from `next_page`")
