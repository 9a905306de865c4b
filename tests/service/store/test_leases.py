"""Leases: which replica runs a session, on every store."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.service.store.conftest import Place
from tests.service.store.values import NASTY_TEXTS, new_event, new_session

from claude_agent_http.domain.errors import LeaseLostError, SessionNotFoundError
from claude_agent_http.domain.event import EventType
from claude_agent_http.domain.lease import Lease, Replica
from claude_agent_http.domain.session import Session
from claude_agent_http.ports import Store

LONG, SHORT = 60.0, 0.2  # seconds
PassTime = Callable[[float], Awaitable[None]]


def replica(replica_id: str) -> Replica:
    return Replica(replica_id, f"pod of {replica_id}", "1.2.3")


@pytest.fixture
async def session(store: Store) -> Session:
    """Of a store where the replicas "a" and "b" live."""
    for replica_id in "ab":
        await store.leases.join(replica(replica_id), LONG)
    return await store.sessions.create(new_session())


async def holder(store: Store, session_id: str) -> tuple[str | None, int]:
    """As the session and its head tell it alike."""
    session = await store.sessions.get(session_id)
    head = (await store.sessions.heads([session_id]))[session_id]
    assert (head.lease_holder, head.lease_epoch) == (session.lease_holder, session.lease_epoch)
    return session.lease_holder, session.lease_epoch


async def claimed(store: Store, session_id: str, replica_id: str) -> Lease:
    lease = await store.leases.claim(session_id, replica_id)
    assert lease is not None
    return lease


async def test_a_stay_is_joined_renewed_and_left(store: Store) -> None:
    leases = store.leases
    await leases.join(replica("a"), LONG)
    assert await leases.renew("a", LONG) == 1
    await leases.join(replica("b"), LONG)
    await leases.join(replica("b"), LONG)  # a repeat, whose first answer was lost
    assert await leases.renew("a", LONG) == await leases.renew("b", LONG) == 2
    await leases.leave("b")
    await leases.leave("b")
    assert await leases.renew("b", LONG) == 0
    assert await leases.renew("a", LONG) == 1
    await leases.leave("never joined")
    assert await leases.renew("never joined", LONG) == 0
    assert await leases.renew("a", LONG) == 1


async def test_a_stay_that_is_not_renewed_ends_for_good(store: Store, pass_time: PassTime) -> None:
    await store.leases.join(replica("a"), SHORT)
    await store.leases.join(replica("b"), LONG)
    await pass_time(SHORT)
    assert await store.leases.renew("a", LONG) == 0
    assert await store.leases.renew("a", LONG) == 0
    assert await store.leases.renew("b", LONG) == 1


async def test_a_renewal_counts_from_when_it_is_made(
    store: Store, session: Session, pass_time: PassTime
) -> None:
    await store.leases.join(replica("c"), SHORT)
    await claimed(store, session.id, "c")
    assert await store.leases.renew("c", LONG)
    await pass_time(SHORT)
    assert await store.leases.claim(session.id, "a") is None
    assert await store.leases.renew("c", SHORT)  # also to an earlier end
    await pass_time(SHORT)
    assert await store.leases.claim(session.id, "a") == Lease(session.id, "a", 2)


async def test_a_free_session_is_claimed(store: Store, session: Session) -> None:
    assert await holder(store, session.id) == (None, 0)
    assert await store.leases.claim(session.id, "a") == Lease(session.id, "a", 1)
    assert await holder(store, session.id) == ("a", 1)


async def test_ones_own_session_is_claimed_anew(store: Store, session: Session) -> None:
    first = await claimed(store, session.id, "a")
    second = await claimed(store, session.id, "a")
    assert (second.replica_id, second.epoch) == ("a", first.epoch + 1)
    stored = await store.sessions.get(session.id)
    assert stored.is_held_under(second)
    assert not stored.is_held_under(first)


async def test_the_session_of_a_living_replica_is_not_claimed(store: Store, session: Session) -> None:
    lease = await claimed(store, session.id, "a")
    for claimant in ("b", "never joined"):
        assert await store.leases.claim(session.id, claimant) is None
    assert (await store.sessions.get(session.id)).is_held_under(lease)


async def test_the_session_of_a_dead_replica_is_claimed_and_the_dead_stays_dead(
    store: Store, session: Session, pass_time: PassTime
) -> None:
    await store.leases.join(replica("c"), SHORT)
    await claimed(store, session.id, "c")
    assert await store.leases.claim(session.id, "a") is None
    await pass_time(SHORT)
    assert await store.leases.claim(session.id, "a") == Lease(session.id, "a", 2)
    assert await store.leases.renew("c", LONG) == 0
    assert await store.leases.claim(session.id, "c") is None


async def test_the_session_of_one_who_never_joined_is_claimed(store: Store, session: Session) -> None:
    await claimed(store, session.id, "never joined")
    assert await store.leases.claim(session.id, "a") == Lease(session.id, "a", 2)


async def test_a_released_session_is_claimed_with_a_new_epoch(store: Store, session: Session) -> None:
    first = await claimed(store, session.id, "a")
    assert not await store.leases.has_stopped(first)
    await store.leases.release(first)
    await store.leases.release(first)
    assert await holder(store, session.id) == (None, 1)
    assert await store.leases.has_stopped(first)
    assert await store.leases.claim(session.id, "b") == Lease(session.id, "b", 2)


async def test_who_leaves_gives_up_every_lease(store: Store, session: Session) -> None:
    other = await store.sessions.create(new_session())
    mine = [await claimed(store, each.id, "a") for each in (session, other)]
    kept = await store.sessions.create(new_session())
    theirs = await claimed(store, kept.id, "b")
    await store.leases.leave("a")
    for lease in mine:
        assert await store.leases.has_stopped(lease)
        assert await holder(store, lease.session_id) == (None, 1)
    assert await holder(store, kept.id) == ("b", 1)
    assert not await store.leases.has_stopped(theirs)


async def test_a_session_is_seized_from_a_living_replica_which_may_still_run_it(
    store: Store, session: Session
) -> None:
    former = await claimed(store, session.id, "a")
    mine = await store.leases.seize(session.id, "b")
    assert mine == Lease(session.id, "b", 2)
    assert await holder(store, session.id) == ("b", 2)
    assert not await store.leases.has_stopped(former)
    assert not await store.leases.is_alone(mine)
    await store.leases.release(former)
    assert await store.leases.has_stopped(former)
    assert await store.leases.is_alone(mine)
    assert not await store.leases.has_stopped(mine)
    assert await holder(store, session.id) == ("b", 2)


async def test_who_seizes_nobodys_or_ones_own_session_is_alone(
    store: Store, session: Session, pass_time: PassTime
) -> None:
    await store.leases.join(replica("c"), LONG)
    for epoch, replica_id in enumerate("aac", start=1):
        lease = await store.leases.seize(session.id, replica_id)
        assert lease == Lease(session.id, replica_id, epoch)
        assert await store.leases.is_alone(lease) is (replica_id == "a")
    await store.leases.release(Lease(session.id, "a", 2))
    await store.leases.renew("c", SHORT)
    await pass_time(SHORT)
    assert await store.leases.is_alone(await store.leases.seize(session.id, "b"))


async def seized_twice(store: Store, session: Session) -> tuple[Lease, Lease, Lease]:
    """From "a" by "b", which gives it up again, and from nobody by "c"."""
    await store.leases.join(replica("c"), LONG)
    first = await claimed(store, session.id, "a")
    second = await store.leases.seize(session.id, "b")
    await store.leases.release(second)
    return first, second, await store.leases.seize(session.id, "c")


async def test_who_had_a_session_is_waited_for_though_it_was_seized_again(
    store: Store, session: Session
) -> None:
    first, second, third = await seized_twice(store, session)
    assert not await store.leases.has_stopped(first)
    assert await store.leases.has_stopped(second)
    assert not await store.leases.is_alone(third)
    await store.leases.release(first)
    assert await store.leases.is_alone(third)


@pytest.mark.parametrize("way", ["released", "left", "dead"])
async def test_what_was_seized_is_claimed_by_nobody_else_before_it_is_given_up(
    store: Store, session: Session, pass_time: PassTime, way: str
) -> None:
    await store.leases.join(replica("c"), LONG)
    await store.events.append(session.id, [new_event(EventType.STATUS_RUNNING)])
    former = await claimed(store, session.id, "c")
    await store.leases.release(await store.leases.seize(session.id, "b"))
    assert await store.leases.claim(session.id, "a") is None
    assert await store.leases.claim(session.id, "b") is None
    assert await store.leases.orphans("b", 10) == []
    assert len(await store.leases.orphans("c", 10)) == 1  # a process waits for its own agents
    match way:
        case "released":
            await store.leases.release(former)
        case "left":
            await store.leases.leave("c")
        case "dead":
            await store.leases.renew("c", SHORT)
            await pass_time(SHORT)
    assert len(await store.leases.orphans("b", 10)) == 1
    assert await store.leases.claim(session.id, "b") == Lease(session.id, "b", 3)
    assert await store.leases.renew("c", LONG) == (0 if way != "released" else 3)


async def test_who_leaves_gives_up_nothing_of_those_it_seized_from(store: Store, session: Session) -> None:
    await store.leases.join(replica("c"), LONG)
    former = await claimed(store, session.id, "a")
    await store.leases.seize(session.id, "b")
    await store.leases.leave("b")
    assert not await store.leases.has_stopped(former)
    assert await store.leases.claim(session.id, "c") is None
    assert not await store.leases.is_alone(await store.leases.seize(session.id, "c"))


async def test_a_replica_knows_what_it_has_not_given_up(store: Store, session: Session) -> None:
    other = await store.sessions.create(new_session())
    seized, kept = await claimed(store, session.id, "a"), await claimed(store, other.id, "a")
    theirs = await store.leases.seize(session.id, "b")
    assert await store.leases.held("b") == [theirs]
    assert set(await store.leases.held("a")) == {seized, kept}
    await store.leases.release(seized)
    assert await store.leases.held("a") == [kept]
    await store.leases.release(kept)
    assert await store.leases.held("a") == []


async def test_only_its_holder_deletes_a_session_that_is_deleted_under_a_lease(
    store: Store, session: Session
) -> None:
    stale = await claimed(store, session.id, "a")
    lease = await store.leases.seize(session.id, "b")
    with pytest.raises(LeaseLostError):
        await store.sessions.delete(session.id, lease=stale)
    assert (await store.sessions.get(session.id)).is_held_under(lease)
    await store.sessions.delete(session.id, lease=lease)
    with pytest.raises(SessionNotFoundError):
        await store.sessions.delete(session.id, lease=lease)
    await store.sessions.create(session)
    assert await store.leases.claim(session.id, "c") == Lease(session.id, "c", 1)


async def test_who_lost_a_session_has_stopped_when_it_leaves_or_dies(
    store: Store, session: Session, pass_time: PassTime
) -> None:
    other = await store.sessions.create(new_session())
    await store.leases.join(replica("c"), SHORT)
    leaving, dying = await claimed(store, session.id, "a"), await claimed(store, other.id, "c")
    for lease in (leaving, dying):
        await store.leases.seize(lease.session_id, "b")
    assert not await store.leases.has_stopped(leaving)
    await store.leases.leave("a")
    await pass_time(SHORT)
    assert await store.leases.has_stopped(leaving)
    assert await store.leases.has_stopped(dying)


async def test_the_lease_of_a_deleted_session_has_stopped(store: Store, session: Session) -> None:
    lease = await claimed(store, session.id, "a")
    await store.sessions.delete(session.id)
    assert await store.leases.has_stopped(lease)
    await store.leases.release(lease)
    await store.sessions.create(session)
    assert await holder(store, session.id) == (None, 0)


@pytest.mark.parametrize("session_id", ["unknown", "", "nul \x00"])
async def test_an_unknown_session(store: Store, session_id: str) -> None:
    for ask in (store.leases.claim, store.leases.seize):
        with pytest.raises(SessionNotFoundError):
            await ask(session_id, "a")
    lease = Lease(session_id, "a", 1)
    await store.leases.release(lease)
    assert await store.leases.has_stopped(lease)


async def test_orphans_are_running_and_no_other_living_replicas(
    store: Store, session: Session, pass_time: PassTime
) -> None:
    await store.leases.join(replica("c"), LONG)
    running = [await store.sessions.create(new_session()) for _ in range(5)]
    free, own, rivals, dead, released = running
    for each, replica_id in ((own, "a"), (rivals, "b"), (dead, "c")):
        await claimed(store, each.id, replica_id)
    await store.leases.release(await claimed(store, released.id, "b"))
    await claimed(store, session.id, "c")  # idle, so there is nothing to take over
    for each in running:
        await store.events.append(each.id, [new_event(EventType.STATUS_RUNNING)])

    def stored(*sessions: Session) -> Awaitable[list[Session]]:
        return asyncio.gather(*(store.sessions.get(each.id) for each in sessions))

    assert await store.leases.orphans("a", 10) == await stored(free, own, released)
    await store.leases.renew("c", SHORT)  # joined for long, lest a slow machine ends its stay before its time
    await pass_time(SHORT)
    assert await store.leases.orphans("a", 10) == await stored(free, own, dead, released)
    assert await store.leases.orphans("a", 2) == await stored(free, own)
    [behind] = await stored(own)
    assert await store.leases.orphans("a", 1, after=behind) == await stored(dead)
    assert await store.leases.orphans("a", 9, after=behind) == await stored(dead, released)
    assert await store.leases.orphans("b", 10) == await stored(free, rivals, dead, released)
    assert await store.leases.orphans("a", 0) == []


async def test_one_of_many_claims_at_once_wins(replicas: list[Store]) -> None:
    store = replicas[0]
    ids = [f"replica {number}" for number in range(12)]
    for replica_id in ids:
        await store.leases.join(replica(replica_id), LONG)
    for _ in range(10):
        session = await store.sessions.create(new_session())
        claims = [
            replicas[number % len(replicas)].leases.claim(session.id, replica_id)
            for number, replica_id in enumerate(ids)
        ]
        [won] = [lease for lease in await asyncio.gather(*claims) if lease is not None]
        assert won.epoch == 1
        assert await holder(store, session.id) == (won.replica_id, 1)


async def test_epochs_of_many_seizures_at_once_are_all_different(replicas: list[Store]) -> None:
    session = await replicas[0].sessions.create(new_session())
    for replica_id in "abcdef":
        await replicas[0].leases.join(replica(replica_id), LONG)
    seizures = [
        replicas[number % len(replicas)].leases.seize(session.id, replica_id)
        for number, replica_id in enumerate("abcdef")
    ]
    taken = sorted(await asyncio.gather(*seizures), key=lambda lease: lease.epoch)
    assert [lease.epoch for lease in taken] == [1, 2, 3, 4, 5, 6]
    # None of those before the last is forgotten.
    for lease in taken[:-1]:
        assert not await replicas[0].leases.is_alone(taken[-1])
        await replicas[0].leases.release(lease)
    assert await replicas[0].leases.is_alone(taken[-1])


@pytest.mark.parametrize("text", NASTY_TEXTS)
async def test_any_text_names_a_replica(store: Store, text: str) -> None:
    session = await store.sessions.create(new_session())
    name = f"r{text}"
    await store.leases.join(Replica(name, text, text), LONG)
    lease = await claimed(store, session.id, name)
    assert lease.replica_id == name
    assert await store.leases.claim(session.id, "other") is None
    assert (await store.sessions.get(session.id)).is_held_under(lease)
    await store.leases.leave(name)
    assert await store.leases.has_stopped(lease)


async def test_leases_outlive_the_store_where_others_share_it(place: Place) -> None:
    """Else whoever had the database before is gone, however long its stay was to be."""
    store = place.make()
    await store.open()
    await store.leases.join(replica("a"), 100 * 365 * 86_400.0)
    session = await store.sessions.create(new_session())
    lease = await claimed(store, session.id, "a")
    await store.close()

    store = place.make()
    await store.open()
    assert await store.leases.has_stopped(lease) is not store.is_shared
    assert (await store.leases.claim(session.id, "b") is None) is store.is_shared
    await store.close()
