"""What of a value is shown where its secrets must not be. Pure."""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit, urlunsplit

__all__ = ["COVER", "covered_arguments", "covered_url"]

COVER = "********"

_SECRET_NAME = r"[^\s=:]*(?:token|key|passw|secret|credential|header|auth)[^\s=:]*"  # noqa: S105
_OPTION = re.compile(rf"-+{_SECRET_NAME}", re.IGNORECASE)
# `NAME=value`, `--name=value`, `--env=NAME=value`, and `Name: value` as HTTP headers have it.
_ASSIGNMENT = re.compile(rf"((?:[^\s=:]*=)?{_SECRET_NAME}\s*[=:]\s*)\S.*", re.IGNORECASE | re.DOTALL)
_USER_INFORMATION = re.compile(r"(\w[\w+.-]*://)[^/?#\s]*@")
_QUERY = re.compile(r"(\w[\w+.-]*://[^?\s]*\?)\S+")


def covered_url(url: str) -> str:
    """Without the user information and the query, where keys are often put."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    netloc = f"{COVER}@{host}" if "@" in parts.netloc else host
    return urlunsplit((parts.scheme, netloc, parts.path, COVER if parts.query else "", parts.fragment))


def covered_arguments(arguments: Iterable[str]) -> list[str]:
    """A command's arguments without what follows an option, or stands behind a name, that sounds secret, and
    without the user information and the query of URLs. A secret that nothing announces is shown."""
    covered: list[str] = []
    follows = False
    for argument in arguments:
        announces = _OPTION.fullmatch(argument) is not None
        # A token may begin with one dash.
        is_value = follows and not (announces and argument.startswith("--"))
        covered.append(COVER if is_value else _covered(argument))
        follows = announces
    return covered


def _covered(argument: str) -> str:
    if assignment := _ASSIGNMENT.fullmatch(argument):
        return assignment[1] + COVER
    return _QUERY.sub(rf"\1{COVER}", _USER_INFORMATION.sub(rf"\1{COVER}@", argument))
