"""API keys: how they look, what is kept of them, and what they open."""

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from claude_agent_http.domain.caller import Caller
from claude_agent_http.domain.errors import InvalidInputError
from claude_agent_http.domain.user_id import USER_ID_FORM, is_user_id

__all__ = [
    "API_KEY_VARIABLE",
    "ID_BYTES",
    "SECRET_BYTES",
    "ApiKey",
    "KeyScope",
    "digest_of",
    "key_id_of",
    "key_text",
]

API_KEY_VARIABLE = "CLAUDE_AGENT_API_KEY"
"""From which clients of the service take their key; the service itself has no use for it."""
ID_BYTES = 8
SECRET_BYTES = 32
_BASE32 = "0123456789abcdefghjkmnpqrstvwxyz"
_TEXT = re.compile(r"cah_([0-9a-z]{13})_[0-9a-z]{52}")


@dataclass(frozen=True, slots=True)
class KeyScope:
    """For whom a key acts: one user, or any; and whether it is an admin's."""

    user_id: str | None = None
    acts_for_any: bool = False
    is_admin: bool = False

    def check(self) -> None:
        """Raises InvalidInputError for a scope that says two things, or nothing, or names what is no user."""
        if self.user_id is not None and self.acts_for_any:
            raise InvalidInputError("user_id", "leave it out for a key that acts for any user (act_as)")
        if self.user_id is None and not self.acts_for_any and not self.is_admin:
            raise InvalidInputError("user_id", "say whose key it is, or let it act for any user (act_as)")
        if self.user_id is not None and not is_user_id(self.user_id):
            raise InvalidInputError("user_id", f"should be {USER_ID_FORM}")

    def caller(self, credential: str) -> Caller:
        """Who shows a key of this scope; `credential` as in `Caller`."""
        return Caller(self.user_id, self.acts_for_any, self.is_admin, credential)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is kept: never its text, only that text's digest. Times are UTC."""

    id: str
    name: str
    digest: str = field(repr=False)
    scope: KeyScope
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None

    def opens_with(self, digest: str) -> bool:
        # In constant time, so that a wrong key's answer tells nothing of how wrong it is.
        return hmac.compare_digest(self.digest, digest)

    def fault(self, now: datetime) -> str | None:
        """Why it opens nothing any more."""
        if self.revoked_at is not None:
            return "it was revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return f"it expired at {self.expires_at.isoformat(timespec='seconds')}"
        return None

    def caller(self) -> Caller:
        return self.scope.caller(f"key:{self.id}")

    def shown(self) -> dict[str, Any]:
        """What people are shown of it, by the names that they know: nothing of what opens anything."""
        return {
            "id": self.id,
            "name": self.name,
            "user_id": self.scope.user_id,
            "act_as": self.scope.acts_for_any,
            "admin": self.scope.is_admin,
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            "last_used_at": self.last_used_at,
            "revoked_at": self.revoked_at,
        }


def key_text(id_bytes: bytes, secret: bytes) -> str:
    """`cah_<id>_<secret>`. The id is no secret: logs and lists name the key by it."""
    return f"cah_{_base32(id_bytes)}_{_base32(secret)}"


def key_id_of(text: str) -> str | None:
    """The id in a key's text; None for what is no key of ours."""
    found = _TEXT.fullmatch(text)
    return None if found is None else found[1]


def digest_of(text: str) -> str:
    """SHA-256, and nothing slower: a slow hash makes guessing dear where a secret is short. Ours has 256
    random bits, which nobody guesses at any price, and it is hashed for every request."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _base32(data: bytes) -> str:
    bits = len(data) * 8
    padding = -bits % 5
    number = int.from_bytes(data) << padding
    return "".join(_BASE32[number >> shift & 31] for shift in range(bits + padding - 5, -1, -5))
