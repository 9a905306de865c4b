"""Which headers cross the gateway. Pure: lists of what may pass, so that nothing is forgotten."""

from collections.abc import Iterable

__all__ = ["from_upstream", "to_upstream", "tokens_in"]

RawHeaders = Iterable[tuple[bytes, bytes]]

_TO_UPSTREAM = frozenset({b"accept", b"content-type", b"user-agent", b"x-app"})
_FROM_UPSTREAM = frozenset(
    {b"content-type", b"request-id", b"retry-after", b"retry-after-ms", b"x-should-retry"}
)
_OF_THE_API = b"anthropic-"


def tokens_in(headers: RawHeaders) -> list[bytes]:
    """What an agent's request shows for who it is; `headers` are in lower case."""
    return [value for name, value in headers if name == b"x-api-key"]


def to_upstream(headers: RawHeaders) -> list[tuple[bytes, bytes]]:
    """What of an agent's request is passed on: neither its token nor anything about its connection."""
    passed = _passing(headers, _TO_UPSTREAM)
    # Asked for plain, because what is passed on is also read, and a decoder may hold back what it got.
    return [*passed, (b"accept-encoding", b"identity")]


def from_upstream(headers: RawHeaders) -> list[tuple[bytes, bytes]]:
    return _passing(headers, _FROM_UPSTREAM)


def _passing(headers: RawHeaders, names: frozenset[bytes]) -> list[tuple[bytes, bytes]]:
    lowered = ((name.lower(), value) for name, value in headers)
    return [(name, value) for name, value in lowered if name in names or name.startswith(_OF_THE_API)]
