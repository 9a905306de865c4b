"""Hosts whose clocks differ go by one time."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.service.store.conftest import Place
from tests.service.store.inspection import server_time
from tests.service.store.values import new_event, new_session

from claude_agent_http.disk import FolderWorkspaces
from claude_agent_http.domain.lease import Replica
from claude_agent_http.domain.usage import Account, Spending, UsageBatch
from claude_agent_http.engine import Engine, Limits
from claude_agent_http.runtime.fake import FakeRuntimeFactory
from claude_agent_http.store import postgres_store
from claude_agent_http.store.server_clock import ServerClock
from claude_agent_http.system.clock import ManualClock, SystemClock
from claude_agent_http.system.ids import CountedIds

DAY = timedelta(days=1)
NEAR = timedelta(seconds=5)


class Wrong(SystemClock):
    """The clock of a host that is so far ahead of the others."""

    def __init__(self, ahead: timedelta) -> None:
        self.ahead = ahead

    def now(self) -> datetime:
        return super().now() + self.ahead


async def server_now(place: Place) -> datetime:
    return datetime.fromtimestamp(await server_time(place.url), UTC)


@pytest.mark.tier("postgres")
@pytest.mark.parametrize("ahead", [DAY, -DAY])
async def test_a_replica_goes_by_the_servers_time(postgres_place: Place, ahead: timedelta) -> None:
    host = Wrong(ahead)
    store = postgres_store(postgres_place.url, host)
    await store.open()
    await store.leases.join(Replica("one", "host", "2.0"), 60)
    assert abs(store.clock.now() - await server_now(postgres_place)) < NEAR
    session = await store.sessions.create(new_session())
    [event] = await store.events.append(session.id, [new_event()])
    assert abs(event.processed_at - await server_now(postgres_place)) < NEAR
    host.ahead = -2 * ahead  # somebody sets it
    assert await store.leases.renew("one", 60) == 1
    assert abs(store.clock.now() - await server_now(postgres_place)) < NEAR
    await store.close()


@pytest.mark.tier("postgres")
async def test_a_replica_whose_clock_is_ahead_closes_and_deletes_nothing_early(
    postgres_place: Place, tmp_path
) -> None:
    right, wrong = (postgres_store(postgres_place.url, clock) for clock in (SystemClock(), Wrong(DAY)))
    for store in (right, wrong):
        await store.open()
    now = right.clock.now()
    session = await right.sessions.create(new_session(created_at=now, last_active_at=now))
    limits = Limits(prestart=False, session_ttl_seconds=3600, retention_seconds=3600)
    ids, workspaces = CountedIds(), FolderWorkspaces(tmp_path)
    engine = Engine(wrong, FakeRuntimeFactory(ids), workspaces, wrong.clock, ids, limits, lambda: 0)
    await engine.start()
    await engine._close_unused()
    await engine._retention.by_age()
    assert (await right.sessions.get(session.id)).status == "active"
    await engine.stop(0)
    for store in (right, wrong):
        await store.close()


@pytest.mark.tier("postgres")
async def test_a_replica_whose_clock_is_ahead_makes_no_repeat_of_usage_count_twice(
    postgres_place: Place,
) -> None:
    right, wrong = (postgres_store(postgres_place.url, clock) for clock in (SystemClock(), Wrong(30 * DAY)))
    for number, store in enumerate((right, wrong)):
        await store.open()
        await store.leases.join(Replica(str(number), "host", "2.0"), 60)
    today = right.clock.now().date()
    one = Spending(1, 2, 3)
    batches = [UsageBatch(writer, 1, ((Account("ann", "s", "m", today), one),)) for writer in ("r", "w")]
    await right.usage.add(batches[0])
    await wrong.usage.add(batches[1])
    await right.usage.add(batches[0])
    assert await right.usage.total_of_day(today, user_id="ann") == one + one
    for store in (right, wrong):
        await store.close()


def test_a_clock_that_may_be_right_is_left_alone() -> None:
    host = ManualClock()
    clock = ServerClock(host)
    asked, told = host.monotonic(), host.now()
    host.advance(2)  # that long the answer took: the server's time is anything between
    clock.was_told(told + timedelta(seconds=1.5), asked)
    assert clock.now() == host.now()


@pytest.mark.parametrize("ahead", [3600, -3600, 3])
def test_a_clock_that_is_wrong_is_set_right(ahead: float) -> None:
    host = ManualClock()
    clock = ServerClock(host)
    asked = host.monotonic()
    host.advance(2)
    clock.was_told(host.now() + timedelta(seconds=ahead - 1), asked)
    assert clock.now() == host.now() + timedelta(seconds=ahead)
    host.advance(10)
    assert clock.now() == host.now() + timedelta(seconds=ahead)


def test_a_clock_does_not_go_back_for_milliseconds() -> None:
    host = ManualClock()
    clock = ServerClock(host)
    clock.was_told(host.now() - timedelta(milliseconds=5), host.monotonic())
    assert clock.now() == host.now()
