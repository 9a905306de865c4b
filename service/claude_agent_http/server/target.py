"""What the first line of a request says it is for."""

import re

__all__ = ["path_of"]

_ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)")


def path_of(target: bytes) -> bytes:
    """As it was sent, without the query."""
    found = _ABSOLUTE.match(target)
    return target[found.end() if found else 0 :].partition(b"?")[0]
