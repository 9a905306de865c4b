"""What retention takes of closed sessions, on every store."""

import asyncio

import pytest
from tests.service.store.values import DAY, START, closed, delete_expired

from claude_agent_http.domain.errors import SessionNotFoundError
from claude_agent_http.domain.lease import Lease, Replica
from claude_agent_http.domain.session import Session, SessionPhase, SessionStatus
from claude_agent_http.ports import Store, TranscriptKey


def ids(sessions: list[Session]) -> list[str]:
    return [session.id for session in sessions]


async def test_old_ones_are_deleted_the_oldest_first_with_all_they_have(store: Store) -> None:
    newer, older = await closed(store, 2), await closed(store, 1)
    await store.transcripts.append(TranscriptKey("p", older.id, "subagents/a"), [{"n": 1}])
    kept = await closed(store, 2.5)
    assert await delete_expired(store, START + 2 * DAY) == [older, newer]
    assert await delete_expired(store, START + 2 * DAY) == []
    for session in (older, newer):
        with pytest.raises(SessionNotFoundError):
            await store.sessions.get(session.id)
    assert await store.transcripts.subpaths("p", older.id) == []
    assert await store.sessions.get(kept.id) == kept


async def test_events_go_with_their_session(store: Store) -> None:
    gone = await closed(store, 0, "text")
    await delete_expired(store, START)
    assert await store.events.read(gone.id) == []


async def test_what_is_in_use_stays(store: Store) -> None:
    await store.leases.join(Replica("r1", "", ""), 10)
    held = await closed(store, 0)
    lease = await store.leases.claim(held.id, "r1")
    assert lease is not None
    active = await closed(store, 0, status=SessionStatus.ACTIVE)
    running = await closed(store, 0, phase=SessionPhase.RUNNING)
    assert await delete_expired(store, START) == []
    assert await store.sessions.excess(0) is None
    for session in (active, running):
        assert await store.sessions.get(session.id) == session
    await store.leases.release(lease)
    assert ids(await delete_expired(store, START)) == [held.id]


async def test_what_was_seized_from_a_replica_that_may_run_it_stays(store: Store) -> None:
    for replica_id in ("r1", "r2"):
        await store.leases.join(Replica(replica_id, "", ""), 10)
    session = await closed(store, 0)
    former = await store.leases.claim(session.id, "r1")
    assert former is not None
    await store.leases.release(await store.leases.seize(session.id, "r2"))
    assert await delete_expired(store, START) == []
    await store.leases.release(former)
    assert ids(await delete_expired(store, START)) == [session.id]


async def test_what_a_replica_held_that_nobody_knows_any_more_goes(store: Store) -> None:
    gone = await closed(store, 0, lease_holder="long dead", lease_epoch=3)
    assert ids(await delete_expired(store, START)) == [gone.id]


async def test_20_sessions_or_2000_events_are_deleted_at_once(store: Store) -> None:
    small = [await closed(store, number / 100) for number in range(21)]
    large = [
        await closed(store, 1 + number / 100, last_seq=seq)
        for number, seq in enumerate((1500, 500, 1, 5000, 1))
    ]
    middle = [small[20].id, *ids(large[:2])]
    parts = [ids(small[:20]), middle, *([session.id] for session in large[2:])]
    assert await store.sessions.expired(START + 2 * DAY) == parts
    assert await delete_expired(store, START + 2 * DAY) == small + large
    assert await store.sessions.expired(START + 2 * DAY) == []


async def test_what_was_used_or_went_since_it_was_found_is_left_alone(store: Store) -> None:
    used, gone, left = [await closed(store, number) for number in range(3)]
    (part,) = await store.sessions.expired(START + 2 * DAY)
    await store.sessions.set_status(used.id, SessionStatus.CLOSED, START + 3 * DAY)
    await store.sessions.delete(gone.id)
    claimed = await store.sessions.claim_closed(part, START + 2 * DAY, "r1")
    assert ids(claimed) == [left.id]
    assert claimed[0].lease == Lease(left.id, "r1", 1)


async def test_what_was_used_since_it_was_claimed_is_left_alone(store: Store) -> None:
    for replica_id in ("r1", "r2"):
        await store.leases.join(Replica(replica_id, "", ""), 10)
    used, opened, taken, left = [await closed(store, number) for number in range(4)]
    (part,) = await store.sessions.expired(START + 3 * DAY)
    claimed = await store.sessions.claim_closed(part, START + 3 * DAY, "r1")
    assert ids(claimed) == ids([used, opened, taken, left])
    assert await store.sessions.expired(START + 3 * DAY) == []
    assert await store.leases.claim(used.id, "r2") is None
    await store.sessions.set_status(used.id, SessionStatus.CLOSED, START + 4 * DAY)
    await store.sessions.set_status(opened.id, SessionStatus.ACTIVE, opened.last_active_at)
    await store.leases.seize(taken.id, "r2")
    leases = [session.lease for session in claimed if session.lease is not None]
    assert ids(await store.sessions.delete_closed(leases, START + 3 * DAY)) == [left.id]


async def test_what_was_seized_long_ago_is_forgotten_when_it_is_claimed(store: Store) -> None:
    for replica_id in ("r1", "r2"):
        await store.leases.join(Replica(replica_id, "", ""), 10)
    session = await closed(store, 0)
    await store.leases.claim(session.id, "r1")
    await store.leases.release(await store.leases.seize(session.id, "r2"))
    await store.leases.leave("r1")
    (claimed,) = await store.sessions.claim_closed([session.id], START, "r2")
    assert claimed.lease is not None
    await store.leases.release(claimed.lease)
    assert await store.leases.has_stopped(claimed.lease)
    assert await store.leases.claim(session.id, "r3") is not None


async def test_what_a_dead_replica_held_goes_once_that_is_buried(store: Store) -> None:
    await store.leases.join(Replica("dead", "", ""), -1)
    await store.leases.join(Replica("living", "", ""), 10)
    session = await closed(store, 0, lease_holder="dead", lease_epoch=3)
    kept = await closed(store, 0, lease_holder="living", lease_epoch=1)
    assert await store.sessions.expired(START) == []
    await store.leases.bury()
    assert ids(await delete_expired(store, START)) == [session.id]
    assert await store.sessions.get(kept.id) == kept


async def test_a_session_that_is_resumed_meanwhile_lives_whole_or_is_gone(store: Store) -> None:
    for _ in range(10):
        session = await closed(store, 0, "text")
        resumed, deleted = await asyncio.gather(
            store.sessions.set_status(session.id, SessionStatus.ACTIVE, START),
            delete_expired(store, START),
            return_exceptions=True,
        )
        assert isinstance(deleted, list)
        if isinstance(resumed, SessionNotFoundError):
            assert ids(deleted) == [session.id]
        else:
            assert deleted == []
            assert len(await store.events.read(session.id)) == 1
