"""Who runs a session no more can store nothing of it, and one turn at a time begins; on every store."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.service.store.values import new_event, new_session, seqs, whole_log

from claude_agent_http.domain.errors import LeaseLostError, SessionBusyError, SessionNotFoundError
from claude_agent_http.domain.event import EventType, NewEvent
from claude_agent_http.domain.lease import Lease, Replica
from claude_agent_http.domain.session import Session
from claude_agent_http.ports import Store, TranscriptKey

LONG, SHORT = 60.0, 0.2  # seconds
Lose = Callable[[Store, Lease], Awaitable[Any]]


@pytest.fixture
async def lease(store: Store) -> Lease:
    """The lease of "a" on a session of its own; "b" lives too."""
    for replica_id in "ab":
        await store.leases.join(Replica(replica_id, "", ""), LONG)
    return await granted(store)


async def granted(store: Store) -> Lease:
    session = await store.sessions.create(new_session())
    lease = await store.leases.claim(session.id, "a")
    assert lease is not None
    return lease


def key_of(lease: Lease) -> TranscriptKey:
    return TranscriptKey("p", lease.session_id)


async def _die_and_be_replaced(store: Store, lease: Lease) -> None:
    await store.leases.leave("a")
    await store.leases.claim(lease.session_id, "b")


LOSSES = {
    "released": lambda store, lease: store.leases.release(lease),
    "left": lambda store, lease: store.leases.leave("a"),
    "seized": lambda store, lease: store.leases.seize(lease.session_id, "b"),
    "claimed anew": lambda store, lease: store.leases.claim(lease.session_id, "a"),
    "replaced": _die_and_be_replaced,
}


async def test_the_holder_stores_what_it_says(store: Store, lease: Lease) -> None:
    assert seqs(await store.events.append(lease.session_id, [new_event()], lease=lease)) == [1]
    await store.transcripts.append(key_of(lease), [{"uuid": "u"}], lease=lease)
    assert await store.transcripts.load(key_of(lease)) == [{"uuid": "u"}]
    assert await store.transcripts.rewind(key_of(lease), "u", lease=lease)
    stored = await store.sessions.get(lease.session_id)
    assert stored.is_held_under(lease)
    assert stored.last_seq == 1


@pytest.mark.parametrize("lose", LOSSES.values(), ids=LOSSES.keys())
async def test_whoever_lost_its_lease_stores_nothing(store: Store, lease: Lease, lose: Lose) -> None:
    event, entry = new_event(), {"uuid": "u"}
    await store.events.append(lease.session_id, [event], lease=lease)
    await store.transcripts.append(key_of(lease), [entry], lease=lease)
    await lose(store, lease)
    session, log = await store.sessions.get(lease.session_id), await whole_log(store, lease.session_id)

    for events in ([new_event(EventType.USER_MESSAGE)], [event], []):  # even what is stored already
        for opens_turn in (False, True):
            with pytest.raises(LeaseLostError) as caught:
                await store.events.append(lease.session_id, events, lease=lease, opens_turn=opens_turn)
            assert caught.value.session_id == lease.session_id
    with pytest.raises(LeaseLostError):
        await store.transcripts.append(key_of(lease), [{"uuid": "new"}], lease=lease)
    with pytest.raises(LeaseLostError):
        await store.transcripts.rewind(key_of(lease), "u", lease=lease)

    assert await store.sessions.get(lease.session_id) == session
    assert await whole_log(store, lease.session_id) == log
    assert await store.transcripts.load(key_of(lease)) == [entry]


async def test_a_lease_whose_time_is_up_holds_until_somebody_takes_it(
    store: Store, pass_time: Callable[[float], Awaitable[None]]
) -> None:
    await store.leases.join(Replica("a", "", ""), SHORT)
    lease = await granted(store)
    await pass_time(SHORT)
    assert await store.events.append(lease.session_id, [new_event()], lease=lease)
    assert await store.leases.claim(lease.session_id, "b")
    with pytest.raises(LeaseLostError):
        await store.events.append(lease.session_id, [new_event()], lease=lease)


async def test_the_lease_of_a_deleted_session_stores_nothing(store: Store, lease: Lease) -> None:
    await store.sessions.delete(lease.session_id)
    with pytest.raises(SessionNotFoundError):
        await store.events.append(lease.session_id, [new_event()], lease=lease)
    with pytest.raises(LeaseLostError):
        await store.transcripts.append(key_of(lease), [{"uuid": "u"}], lease=lease)
    with pytest.raises(LeaseLostError):
        await store.transcripts.rewind(key_of(lease), "u", lease=lease)
    assert await store.transcripts.load(key_of(lease)) is None


async def test_others_without_a_lease_may_write_into_a_session(store: Store, lease: Lease) -> None:
    """An interrupt, say."""
    assert seqs(await store.events.append(lease.session_id, [new_event()])) == [1]
    assert (await store.sessions.get(lease.session_id)).is_held_under(lease)


async def test_a_stale_write_fails_alone_in_its_transaction(store: Store, lease: Lease) -> None:
    stale, other = await granted(store), await granted(store)
    await store.leases.seize(stale.session_id, "b")
    first = store.events.append(lease.session_id, [new_event()])  # the others gather while this is committed
    writes: list[Awaitable[Any]] = []
    for held in (lease, stale, other) * 5:
        writes += [
            store.events.append(held.session_id, [new_event(), new_event()], lease=held),
            store.transcripts.append(key_of(held), [{"n": 1}], lease=held),
            store.transcripts.append(TranscriptKey("p", held.session_id, "sub"), [{"n": 1}]),
        ]
    _, *outcomes = await asyncio.gather(first, *writes, return_exceptions=True)

    refused = [isinstance(outcome, LeaseLostError) for outcome in outcomes]
    assert refused == [*[False] * 3, True, True, False, *[False] * 3] * 5
    assert not any(
        isinstance(outcome, Exception) for outcome in outcomes if not isinstance(outcome, LeaseLostError)
    )
    for held, events, entries in ((lease, 11, 5), (stale, 0, 0), (other, 10, 5)):
        assert seqs(await whole_log(store, held.session_id)) == list(range(1, events + 1))
        assert len(await store.transcripts.load(key_of(held)) or []) == entries
        assert len(await store.transcripts.load(TranscriptKey("p", held.session_id, "sub")) or []) == 5


async def test_nothing_is_stored_behind_the_back_of_who_took_over(replicas: list[Store]) -> None:
    """What the old holder was told is stored, the new one sees; and nothing comes to it later."""
    for replica_id in "ab":
        await replicas[0].leases.join(Replica(replica_id, "", ""), LONG)
    for _ in range(10):
        lease = await granted(replicas[0])
        appends = [
            asyncio.create_task(replicas[0].events.append(lease.session_id, [new_event()], lease=lease))
            for _ in range(20)
        ]
        await appends[0]
        appends += [
            asyncio.create_task(replicas[0].events.append(lease.session_id, [new_event()], lease=lease))
            for _ in range(20)
        ]
        await replicas[-1].leases.seize(lease.session_id, "b")
        seen = await whole_log(replicas[-1], lease.session_id)
        outcomes = await asyncio.gather(*appends, return_exceptions=True)
        stored = [event for outcome in outcomes if isinstance(outcome, list) for event in outcome]
        assert all(isinstance(outcome, list | LeaseLostError) for outcome in outcomes)
        assert stored == seen == await whole_log(replicas[-1], lease.session_id)


def opening(turn_id: str) -> list[NewEvent]:
    return [
        new_event(EventType.USER_MESSAGE, id=f"{turn_id}", turn_id=turn_id),
        new_event(EventType.STATUS_RUNNING, id=f"{turn_id} runs", turn_id=turn_id),
    ]


@pytest.fixture
async def session(store: Store) -> Session:
    return await store.sessions.create(new_session())


async def test_no_turn_opens_while_another_runs(store: Store, session: Session) -> None:
    await store.events.append(session.id, opening("one"), opens_turn=True)
    before = await store.sessions.get(session.id)
    for refused in (opening("two"), [opening("one")[0], opening("two")[1]]):
        with pytest.raises(SessionBusyError):
            await store.events.append(session.id, refused, opens_turn=True)
    assert await store.sessions.get(session.id) == before
    await store.events.append(session.id, [new_event(EventType.STATUS_IDLE)])
    assert seqs(await store.events.append(session.id, opening("two"), opens_turn=True)) == [4, 5]


async def test_a_repeated_opening_is_answered_with_what_is_stored(store: Store, session: Session) -> None:
    stored = await store.events.append(session.id, opening("one"), opens_turn=True)
    assert await store.events.append(session.id, opening("one"), opens_turn=True) == stored
    await store.events.append(session.id, [new_event(), new_event(EventType.STATUS_IDLE)])
    assert await store.events.append(session.id, opening("one"), opens_turn=True) == stored
    await store.events.append(session.id, opening("two"), opens_turn=True)
    assert await store.events.append(session.id, opening("one"), opens_turn=True) == stored
    assert seqs(await whole_log(store, session.id)) == [*range(1, 7)]


async def test_one_of_many_openings_at_once_wins(replicas: list[Store]) -> None:
    for _ in range(5):
        session = await replicas[0].sessions.create(new_session())
        openings = [
            replicas[number % len(replicas)].events.append(
                session.id, opening(f"{number % 8}"), opens_turn=True
            )
            for number in range(16)  # each of them twice
        ]
        outcomes = await asyncio.gather(*openings, return_exceptions=True)
        won = [outcome for outcome in outcomes if isinstance(outcome, list)]
        assert won == [await whole_log(replicas[0], session.id)] * 2
        assert [type(each) for each in outcomes if each not in won] == [SessionBusyError] * 14


async def test_turns_follow_each_other_within_one_transaction(store: Store, session: Session) -> None:
    first = store.events.append(session.id, [new_event()])  # the others gather while this is committed
    idle = [new_event(EventType.STATUS_IDLE)]
    _, *outcomes = await asyncio.gather(
        first,
        store.events.append(session.id, opening("one"), opens_turn=True),
        store.events.append(session.id, opening("two"), opens_turn=True),
        store.events.append(session.id, idle),
        store.events.append(session.id, opening("three"), opens_turn=True),
        return_exceptions=True,
    )
    assert isinstance(outcomes.pop(1), SessionBusyError)
    assert [seqs(stored) for stored in outcomes if isinstance(stored, list)] == [[2, 3], [4], [5, 6]]
