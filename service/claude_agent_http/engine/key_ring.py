"""API keys, given out and taken back."""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from claude_agent_http.domain.api_key import (
    ID_BYTES,
    SECRET_BYTES,
    ApiKey,
    KeyScope,
    digest_of,
    key_id_of,
    key_text,
)
from claude_agent_http.domain.errors import ApiKeyNotFoundError, InvalidInputError
from claude_agent_http.ports import ApiKeys, Clock, Ids

__all__ = ["IssuedKey", "KeyRing"]

_NAME_MAX = 100
_SHOWN = 64


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """`text` is the key itself. Nobody can have it again: it is kept nowhere."""

    key: ApiKey
    text: str

    def __repr__(self) -> str:
        return f"IssuedKey({self.key.id})"


class KeyRing:
    """`changed` is told at once of a key that was revoked here."""

    def __init__(
        self, keys: ApiKeys, clock: Clock, ids: Ids, *, changed: Callable[[str], None] | None = None
    ) -> None:
        self._keys = keys
        self._clock = clock
        self._ids = ids
        self._changed = changed

    async def create(self, name: str, scope: KeyScope, expires_at: datetime | None = None) -> IssuedKey:
        """Raises InvalidInputError, StorageError."""
        now = self._clock.now()
        _check_name(name)
        scope.check()
        if expires_at is not None and expires_at <= now:
            raise InvalidInputError("expires_at", "is past; choose a time to come, or leave it out")
        text = key_text(self._ids.secret(ID_BYTES), self._ids.secret(SECRET_BYTES))
        key = ApiKey(key_id_of(text) or "", name, digest_of(text), scope, now, expires_at)
        await self._keys.add(key)
        return IssuedKey(key, text)

    async def page(self, *, limit: int, after: str | None = None) -> list[ApiKey]:
        """See `ApiKeys.page`."""
        return await self._keys.page(limit=limit, after=after)

    async def revoke(self, key_id: str) -> ApiKey:
        """Here it is dead at once, elsewhere in a few seconds. Raises ApiKeyNotFoundError, StorageError."""
        key = await self._keys.revoke(key_id, self._clock.now())
        if key is None:
            raise ApiKeyNotFoundError(key_id[:_SHOWN])
        if self._changed is not None:
            self._changed(key_id)
        return key


def _check_name(name: str) -> None:
    # It is shown in terminals and logs.
    printable = all(unicodedata.category(letter)[0] not in "CZ" or letter == " " for letter in name)
    if not name.strip() or len(name) > _NAME_MAX or not printable:
        raise InvalidInputError("name", f"should be 1 to {_NAME_MAX} printable characters")
