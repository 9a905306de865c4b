"""One API key that a file holds, as a Kubernetes Secret mounts it. Pure."""

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from claude_agent_http.domain.api_key import KeyScope, digest_of
from claude_agent_http.domain.caller import Caller
from claude_agent_http.domain.errors import InvalidInputError

__all__ = ["FileKey", "KeyFileError", "parse_key_file"]

MIN_LENGTH = 24
"""Characters of a key: how random one is that somebody chose is not known."""

_FIELDS = {"key", "sha256", "user_id", "act_as", "admin", "expires"}
_PRINTABLE = re.compile(r"[\x21-\x7e]+")
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")


class KeyFileError(Exception):
    """What is wrong with the file's content; the text holds nothing of a key."""


@dataclass(frozen=True, slots=True)
class FileKey:
    name: str
    digest: str = field(repr=False)
    scope: KeyScope
    expires_at: datetime | None = None

    def caller(self) -> Caller:
        return self.scope.caller(f"file:{self.name}")


def parse_key_file(name: str, content: bytes) -> FileKey:
    """`content` is a JSON object with `key` or `sha256` and its scope, or a bare key: that acts for any user.

    Raises KeyFileError.
    """
    try:
        text = content.decode().strip()
    except UnicodeDecodeError:
        raise KeyFileError("is not text in UTF-8") from None
    if not text.startswith("{"):
        return FileKey(name, _digest_of_key(text), KeyScope(acts_for_any=True))
    given = _object(text)
    return FileKey(name, _digest(given), _scope(given), _expiry(given.get("expires")))


def _object(text: str) -> dict[str, Any]:
    try:
        given = json.loads(text)
    except (ValueError, RecursionError):
        raise KeyFileError("begins like JSON and is none") from None
    if unknown := given.keys() - _FIELDS:
        raise KeyFileError(f"has unknown fields {sorted(unknown)}; known are {sorted(_FIELDS)}")
    return dict(given)


def _digest(given: dict[str, Any]) -> str:
    match given:
        case {"key": _, "sha256": _}:
            raise KeyFileError("should have `key` or `sha256`, not both")
        case {"key": str(key)}:
            return _digest_of_key(key)
        case {"sha256": str(digest)} if _DIGEST.fullmatch(digest):
            return digest.lower()
        case {"sha256": _}:
            raise KeyFileError("sha256: should be the 64 hexadecimal digits of the key's SHA-256")
    raise KeyFileError("should have `key`, a text, or `sha256`")


def _digest_of_key(key: str) -> str:
    if not _PRINTABLE.fullmatch(key) or len(key) < MIN_LENGTH:
        raise KeyFileError(
            f"key: should be at least {MIN_LENGTH} printable ASCII characters without spaces; "
            "`openssl rand -hex 32` makes a good one"
        )
    return digest_of(key)


def _scope(given: dict[str, Any]) -> KeyScope:
    user_id, acts_for_any, is_admin = (
        given.get("user_id"),
        given.get("act_as", False),
        given.get("admin", False),
    )
    if not isinstance(user_id, str | None):
        raise KeyFileError("user_id: should be a text")
    for name, value in (("act_as", acts_for_any), ("admin", is_admin)):
        if not isinstance(value, bool):
            raise KeyFileError(f"{name}: should be true or false")
    scope = KeyScope(user_id, acts_for_any, is_admin)
    try:
        scope.check()
    except InvalidInputError as error:
        raise KeyFileError(str(error)) from error
    return scope


def _expiry(given: Any) -> datetime | None:
    if given is None:
        return None
    try:
        moment = datetime.fromisoformat(given)
    except (TypeError, ValueError):
        raise KeyFileError("expires: should be a time such as 2027-01-31T00:00:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
