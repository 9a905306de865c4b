"""API keys, the same on every store."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.service.store.conftest import Place
from tests.service.store.values import NASTY_TEXTS, START

from claude_agent_http import store as stores
from claude_agent_http.domain.api_key import ApiKey, KeyScope
from claude_agent_http.domain.errors import InvalidInputError, StorageError
from claude_agent_http.ports import Store

SECOND = timedelta(seconds=1)


def key(number: int, **values: Any) -> ApiKey:
    defaults: dict[str, Any] = {
        "id": f"{number:013d}",
        "name": "a key",
        "digest": "ab" * 32,
        "scope": KeyScope("ann"),
        "created_at": START + number // 2 * SECOND,
    }
    return ApiKey(**defaults | values)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"scope": KeyScope(acts_for_any=True)},
        {"scope": KeyScope(is_admin=True)},
        {"scope": KeyScope("ann", is_admin=True), "expires_at": START, "last_used_at": START},
        *({"name": text} for text in NASTY_TEXTS),
    ],
)
async def test_a_key_comes_back_as_it_went_in(store: Store, values: dict[str, Any]) -> None:
    given = key(1, **values)
    await store.api_keys.add(given)
    assert await store.api_keys.get(given.id) == given
    assert await store.api_keys.page(limit=9) == [given]


async def test_a_repeat_changes_nothing(store: Store) -> None:
    await store.api_keys.add(key(1))
    await store.api_keys.add(key(1, name="another"))
    assert await store.api_keys.get(key(1).id) == key(1)


@pytest.mark.parametrize("key_id", ["unknown", "", "nul \x00", "surrogate \ud800", "' OR 1=1 --"])
async def test_an_unknown_key_is_none(store: Store, key_id: str) -> None:
    await store.api_keys.add(key(1))
    assert await store.api_keys.get(key_id) is None
    assert await store.api_keys.revoke(key_id, START) is None
    await store.api_keys.used({key_id: START})
    with pytest.raises(InvalidInputError, match=r"after: no key has this id"):
        await store.api_keys.page(limit=9, after=key_id)
    assert await store.api_keys.page(limit=9) == [key(1)]


async def test_pages_are_newest_first(store: Store) -> None:
    for number in range(7):
        await store.api_keys.add(key(number))
    newest = [key(number) for number in reversed(range(7))]
    assert await store.api_keys.page(limit=99) == newest
    paged: list[ApiKey] = []
    while page := await store.api_keys.page(limit=3, after=paged[-1].id if paged else None):
        paged += page
    assert paged == newest


async def test_a_revoked_key_stays_revoked_at_its_first_time(store: Store) -> None:
    await store.api_keys.add(key(1))
    revoked = key(1, revoked_at=START + SECOND)
    assert await store.api_keys.revoke(key(1).id, START + SECOND) == revoked
    assert await store.api_keys.revoke(key(1).id, START + 2 * SECOND) == revoked
    assert await store.api_keys.get(key(1).id) == revoked


async def test_the_last_use_only_goes_forward(store: Store) -> None:
    one, two = key(1), key(2)
    for each in (one, two):
        await store.api_keys.add(each)
    await store.api_keys.used({})
    await store.api_keys.used({one.id: START + 2 * SECOND, two.id: START, "unknown": START})
    await store.api_keys.used({one.id: START + SECOND, two.id: START + SECOND})
    assert await store.api_keys.get(one.id) == replace(one, last_used_at=START + 2 * SECOND)
    assert await store.api_keys.get(two.id) == replace(two, last_used_at=START + SECOND)


async def test_the_keys_of_a_user_go_and_others_stay(store: Store) -> None:
    others = [key(3, scope=KeyScope("bob")), key(4, scope=KeyScope(acts_for_any=True))]
    for each in (key(1), key(2), *others):
        await store.api_keys.add(each)
    assert await store.api_keys.delete_of("ann") == 2
    assert await store.api_keys.delete_of("ann") == 0
    assert await store.api_keys.page(limit=9) == others[::-1]


async def test_replicas_share_them(replicas: list[Store]) -> None:
    await replicas[0].api_keys.add(key(1))
    for replica in replicas:
        assert await replica.api_keys.get(key(1).id) == key(1)
    await replicas[-1].api_keys.revoke(key(1).id, START)
    assert await replicas[0].api_keys.get(key(1).id) == key(1, revoked_at=START)


async def test_keys_are_made_beside_a_service_and_before_the_first(place: Place) -> None:
    for number in range(2):
        async with stores.api_keys(place.url) as keys:
            await keys.add(key(number))
    service = place.make()
    await service.open()
    try:
        async with stores.api_keys(place.url) as keys:
            await keys.add(key(2))
            assert await service.api_keys.page(limit=9) == [key(2), key(1), key(0)]
    finally:
        await service.close()


async def test_a_database_that_cannot_be_had_is_told(tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        async with stores.api_keys(f"sqlite:///{tmp_path}/file/agents.db"):
            pass
