"""What was recorded is stored, whatever the store does meanwhile."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.service.store.test_audit import EVERYTHING, entry
from tests.waiting import until

from claude_agent_http.domain.audit import AuditEntry
from claude_agent_http.domain.errors import StorageError
from claude_agent_http.engine import AuditTrail, audit_trail
from claude_agent_http.store.memory_audit import MemoryAuditLog
from claude_agent_http.system.clock import ManualClock

DAY = 86_400


class Log(MemoryAuditLog):
    """One that can fail; `groups` are the sizes of what it was given, `refused` how often it failed."""

    def __init__(self) -> None:
        super().__init__()
        self.error: Exception | None = None
        self.groups: list[int] = []
        self.refused = 0

    async def add(self, entries: Sequence[AuditEntry]) -> None:
        if self.error is not None:
            self.refused += 1
            raise self.error
        self.groups.append(len(entries))
        await super().add(entries)

    async def ids(self) -> list[str]:
        return sorted(one.id for one in await self.page(EVERYTHING, limit=99_999))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for name in ("_GROUP_SECONDS", "_RETRY_SECONDS", "_PLACE_SECONDS", "_LAST_SECONDS"):
        monkeypatch.setattr(audit_trail, name, 0.05)


async def record(trail: AuditTrail, *numbers: int) -> None:
    for number in numbers:
        await trail.place()
        trail.record(entry(number))


async def test_entries_are_stored_together():
    log = Log()
    async with AuditTrail(log, ManualClock()) as trail:
        await record(trail, *range(700))
        await until(lambda: sum(log.groups) == 700)
    assert log.groups == [500, 200]


async def test_what_waits_is_stored_at_the_end():
    log = Log()
    async with AuditTrail(log, ManualClock()) as trail:
        await record(trail, 1, 2)
        assert log.groups == []
    assert await log.ids() == [entry(1).id, entry(2).id]


async def test_a_reader_sees_what_was_recorded_just_now():
    async with AuditTrail(Log(), ManualClock()) as trail:
        await record(trail, 1)
        assert [one.id for one in await trail.page(EVERYTHING, limit=9, before=None)] == [entry(1).id]


async def test_a_store_that_fails_loses_nothing():
    log = Log()
    log.error = StorageError("no answer")
    async with AuditTrail(log, ManualClock()) as trail:
        await record(trail, 1)
        await trail.settle(1)
        await record(trail, 2)
        log.error = RuntimeError("a surprise")
        refused = log.refused
        await until(lambda: log.refused > refused + 1)  # it goes on trying
        log.error = None
        await until(lambda: sum(log.groups) == 2)
    assert await log.ids() == [entry(1).id, entry(2).id]


async def test_without_a_place_nothing_is_begun():
    log = Log()
    log.error = StorageError("no answer")
    async with AuditTrail(log, ManualClock(), most=2) as trail:
        await record(trail, 1, 2)
        with pytest.raises(StorageError, match=r"must be audited.* try again later"):
            await trail.place()
        log.error = None
        await until(lambda: sum(log.groups) == 2)
        await trail.place()
        trail.give_back()
        await record(trail, 3, 4)
    assert len(await log.ids()) == 4


async def test_a_place_that_comes_free_is_waited_for():
    async with AuditTrail(Log(), ManualClock(), most=1) as trail:
        await trail.place()
        waiting = asyncio.create_task(trail.place())
        await asyncio.sleep(0)
        assert not waiting.done()
        trail.give_back()
        await waiting


async def test_old_entries_go():
    log, clock = Log(), ManualClock()
    now = clock.now()
    old = [replace(entry(n), at=now - timedelta(days=31, seconds=n)) for n in range(2500)]
    young = [replace(entry(n), at=now - timedelta(days=29)) for n in range(5000, 5003)]
    await log.add([*old, *young])
    async with AuditTrail(log, clock, keep_seconds=30 * DAY):

        async def only_young() -> bool:
            return await log.ids() == [one.id for one in young]

        await until(only_young)


async def test_nothing_goes_where_all_is_kept():
    log, clock = Log(), ManualClock()
    await log.add([replace(entry(1), at=clock.now() - timedelta(days=3650))])
    async with AuditTrail(log, clock) as trail:
        await record(trail, 2)
    assert await log.ids() == [entry(1).id, entry(2).id]
