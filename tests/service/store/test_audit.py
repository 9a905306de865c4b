"""The audit, the same on every store."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.service.store.values import NASTY_TEXTS, START

from claude_agent_http.domain.approval import Decision
from claude_agent_http.domain.audit import AuditEntry, AuditFilter, AuditResult, CallerKind
from claude_agent_http.ports import Store

HOUR = timedelta(hours=1)
EVERYTHING = AuditFilter()


def entry(number: int, **values: Any) -> AuditEntry:
    made = AuditEntry(
        id=f"aud_{number:026d}",
        at=START + number * HOUR,
        caller=CallerKind.USER,
        credential="key:a",
        user_id="ann",
        method="POST",
        route="/api/v1/chat",
        session_id="11111111-1111-4111-8111-111111111111",
        key_id=None,
        status=200,
        request_id="req_1",
        client="192.0.2.1",
    )
    return replace(made, **values)


async def found(store: Store, wanted: AuditFilter = EVERYTHING, **page: Any) -> list[int]:
    entries = await store.audit.page(wanted, **{"limit": 99, **page})
    return [int(one.id.removeprefix("aud_")) for one in entries]


@pytest.mark.parametrize(
    "values",
    [
        {},
        {
            "caller": CallerKind.UNKNOWN,
            "credential": None,
            "user_id": None,
            "route": None,
            "session_id": None,
        },
        {"caller": CallerKind.ADMIN, "key_id": "0123456789abc", "status": 503},
        {"caller": CallerKind.CLI, "approval_id": "sevt_1 \x00", "decision": Decision.DENY},
        *({"credential": f"oidc:{text}", "request_id": text} for text in NASTY_TEXTS),
    ],
)
async def test_an_entry_comes_back_as_it_went_in(store: Store, values: dict[str, Any]) -> None:
    given = entry(1, **values)
    await store.audit.add([given])
    assert list(await store.audit.page(EVERYTHING, limit=9)) == [given]


async def test_pages_newest_first(store: Store) -> None:
    await store.audit.add([entry(number) for number in (3, 1, 5, 2, 4)])
    assert await found(store, limit=2) == [5, 4]
    assert await found(store, limit=2, before=entry(4).id) == [3, 2]
    assert await found(store, limit=2, before=entry(2).id) == [1]
    assert await found(store, before="' OR 1=1 --") == []
    assert await found(store, before="nul \x00 \ud800") == [5, 4, 3, 2, 1]


async def test_a_repeat_changes_nothing(store: Store) -> None:
    await store.audit.add([entry(1)])
    await store.audit.add([entry(1, status=500), entry(2)])
    assert [one.status for one in await store.audit.page(EVERYTHING, limit=9)] == [200, 200]
    await store.audit.add([])


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (AuditFilter(user_id="bob"), [2]),
        (AuditFilter(user_id="nobody"), []),
        (AuditFilter(user_id="' OR 1=1 --"), []),
        (AuditFilter(session_id="other"), [3]),
        (AuditFilter(credential="key:b"), [3, 2]),
        (AuditFilter(result=AuditResult.DENIED), [5, 4]),
        (AuditFilter(result=AuditResult.FAILED), [6]),
        (AuditFilter(result=AuditResult.REFUSED), [7]),
        (AuditFilter(since=START + 3 * HOUR, until=START + 5 * HOUR), [4, 3]),
        (AuditFilter(user_id="ann", result=AuditResult.DONE, until=START + 4 * HOUR), [3, 1]),
    ],
)
async def test_filters(store: Store, wanted: AuditFilter, numbers: list[int]) -> None:
    await store.audit.add(
        [
            entry(1),
            entry(2, user_id="bob", credential="key:b"),
            entry(3, session_id="other", credential="key:b"),
            entry(4, status=404),
            entry(5, status=401),
            entry(6, status=507),
            entry(7, status=422),
        ]
    )
    assert await found(store, wanted) == numbers


async def test_what_is_old_goes_oldest_first(store: Store) -> None:
    await store.audit.add([entry(number) for number in (4, 1, 3, 2)])
    assert await store.audit.delete_before(START + 4 * HOUR, limit=2) == 2
    assert await found(store) == [4, 3]
    assert await store.audit.delete_before(START + 4 * HOUR, limit=2) == 1
    assert await store.audit.delete_before(START + 4 * HOUR, limit=2) == 0
    assert await found(store) == [4]
