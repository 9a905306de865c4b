"""ApiKeys in memory."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from claude_agent_http.domain.api_key import ApiKey
from claude_agent_http.store.api_keys import unknown_key

__all__ = ["MemoryApiKeys"]


class MemoryApiKeys:
    def __init__(self) -> None:
        self._keys: dict[str, ApiKey] = {}

    async def add(self, key: ApiKey) -> None:
        self._keys.setdefault(key.id, key)

    async def get(self, key_id: str) -> ApiKey | None:
        return self._keys.get(key_id)

    async def page(self, *, limit: int, after: str | None = None) -> list[ApiKey]:
        newest_first = sorted(self._keys.values(), key=_age, reverse=True)
        if after is not None:
            if after not in self._keys:
                raise unknown_key()
            newest_first = [key for key in newest_first if _age(key) < _age(self._keys[after])]
        return newest_first[:limit]

    async def revoke(self, key_id: str, at: datetime) -> ApiKey | None:
        key = self._keys.get(key_id)
        if key is not None and key.revoked_at is None:
            key = self._keys[key_id] = replace(key, revoked_at=at)
        return key

    async def used(self, times: Mapping[str, datetime]) -> None:
        for key_id, at in times.items():
            key = self._keys.get(key_id)
            if key is not None and (key.last_used_at is None or key.last_used_at < at):
                self._keys[key_id] = replace(key, last_used_at=at)

    async def delete_of(self, user_id: str) -> int:
        gone = [key.id for key in self._keys.values() if key.scope.user_id == user_id]
        for key_id in gone:
            del self._keys[key_id]
        return len(gone)


def _age(key: ApiKey) -> tuple[datetime, str]:
    return key.created_at, key.id
