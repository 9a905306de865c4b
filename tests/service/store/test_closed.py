"""What retention takes of closed sessions, on every store."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from tests.service.store.values import START, delete_expired, new_event, new_session

from claude_agent_http.domain.errors import SessionNotFoundError
from claude_agent_http.domain.lease import Lease, Replica
from claude_agent_http.domain.session import Session, SessionPhase, SessionStatus
from claude_agent_http.ports import Store, TranscriptKey
from claude_agent_http.store import closed_sizes

DAY = timedelta(days=1)


async def closed(store: Store, days: float, text: str = "", **values: Any) -> Session:
    """A closed session that was last active so many days after the start, with an event of that text."""
    made = new_session(**{"status": SessionStatus.CLOSED, "last_active_at": START + days * DAY} | values)
    await store.sessions.create(made)
    if text:
        await store.events.append(made.id, [new_event(data={"text": text})])
        await store.sessions.set_status(made.id, made.status, made.last_active_at)
    return made


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


async def test_the_last_used_are_kept_as_far_as_there_is_room(store: Store) -> None:
    for day in (3, 1, 2):
        await closed(store, day, "x" * 1000)
    await closed(store, 0, "x" * 100_000, status=SessionStatus.ACTIVE)
    assert await store.sessions.excess(4000) is None
    assert await store.sessions.excess(2500) == START + DAY
    assert await store.sessions.excess(1500) == START + 2 * DAY
    assert await store.sessions.excess(0) == START + 3 * DAY


async def test_transcripts_count_too_and_in_bytes(store: Store) -> None:
    session = await closed(store, 1)
    for subpath in ("", "subagents/a"):
        await store.transcripts.append(TranscriptKey("p", session.id, subpath), [{"text": "\u20ac" * 100}])
    assert await store.sessions.excess(1100) == START + DAY  # the euro sign is six bytes of JSON
    assert await store.sessions.excess(1400) is None


@pytest.mark.parametrize("limit", ["_EVENTS_AT_ONCE", "_SESSIONS_AT_ONCE", "_FOUND_AT_ONCE"])
async def test_what_is_read_in_parts_is_counted_once(
    store: Store, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(closed_sizes, limit, 2)
    for day in range(3):
        session = await closed(store, day, "x" * 1000)
        await store.events.append(session.id, [new_event(data={"text": "x" * 1000}) for _ in range(4)])
        await store.sessions.set_status(session.id, session.status, session.last_active_at)
    assert await store.sessions.excess(16_000) is None
    assert await store.sessions.excess(14_900) == START
    assert await store.sessions.excess(10_200) == START
    assert await store.sessions.excess(9_900) == START + DAY


async def test_the_oldest_of_very_many_are_found(store: Store) -> None:
    for hundred in range(0, 1100, 100):  # more at once would wait too long for a connection
        await asyncio.gather(*(closed(store, (hundred + number) / 1000) for number in range(100)))
    await closed(store, -1, "x")
    assert await store.sessions.excess(0) == START - DAY
    assert await store.sessions.excess(1000) is None
