"""What the first line of a request says it is for."""

import re

__all__ = ["is_for", "path_of"]

_ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)")
_USUAL_PORT = b":80"


def path_of(target: bytes) -> bytes:
    """As it was sent, without the query."""
    found = _ABSOLUTE.match(target)
    return target[found.end() if found else 0 :].partition(b"?")[0]


def is_for(target: bytes, host: bytes) -> bool:
    """Whether a whole address names the same host as the `Host` beside it; any other target names none."""
    found = _ABSOLUTE.match(target)
    return found is None or _plain(found[1]) == _plain(host)


def _plain(authority: bytes) -> bytes:
    return authority.strip().lower().removesuffix(_USUAL_PORT)
