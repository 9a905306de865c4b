"""A store in memory, time that tests move, and keys to try."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from claude_agent_http.auth import StoredKeys
from claude_agent_http.domain.api_key import ID_BYTES, SECRET_BYTES, ApiKey, KeyScope, digest_of, key_text
from claude_agent_http.ports import ApiKeys
from claude_agent_http.store.memory_api_keys import MemoryApiKeys
from claude_agent_http.system.clock import ManualClock
from claude_agent_http.system.ids import RandomIds

ALICE = KeyScope("alice")


class CountedKeys(MemoryApiKeys):
    """Says which keys were read."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[str] = []

    async def get(self, key_id: str) -> ApiKey | None:
        self.read.append(key_id)
        return await super().get(key_id)


@dataclass(frozen=True)
class Given:
    text: str
    key: ApiKey


def made(now: datetime, scope: KeyScope = ALICE, **values: Any) -> Given:
    """A new key that no store knows."""
    ids = RandomIds()
    text = key_text(ids.secret(ID_BYTES), ids.secret(SECRET_BYTES))
    key_id = text.split("_")[1]
    return Given(text, ApiKey(key_id, "a key", digest_of(text), scope, now, **values))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def keys() -> CountedKeys:
    return CountedKeys()


@pytest.fixture
def uses() -> dict[str, datetime]:
    return {}


@pytest.fixture
def stored(keys: ApiKeys, clock: ManualClock, uses: dict[str, datetime]) -> StoredKeys:
    return StoredKeys(keys, clock, uses.__setitem__)


@pytest.fixture
def give(keys: ApiKeys, clock: ManualClock) -> Callable[..., Any]:
    """`await give(scope, expires_at=...)`: a key that the store knows."""

    async def given(scope: KeyScope = ALICE, **values: Any) -> Given:
        new = made(clock.now(), scope, **values)
        await keys.add(new.key)
        return new

    return given
