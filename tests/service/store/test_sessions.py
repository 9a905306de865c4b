"""The session store, on every store."""

import asyncio
from dataclasses import replace
from datetime import UTC, timedelta

import pytest
from tests.service.store.values import START, new_event, new_session

from claude_agent_http.domain.errors import InvalidInputError, SessionConflictError, SessionNotFoundError
from claude_agent_http.domain.event import EventType
from claude_agent_http.domain.session import SessionHead, SessionPhase, SessionStatus
from claude_agent_http.ports import Store, TranscriptKey


async def test_a_session_comes_back_as_it_went_in(store: Store) -> None:
    session = new_session(
        subdir="a/b",
        idempotency_key="key",
        status=SessionStatus.CLOSED,
        phase=SessionPhase.RUNNING,
        message_count=3,
        last_seq=7,
        metadata={"deep": {"list": [1, None, 2.5, "x"]}},
        created_at=START + timedelta(microseconds=1),
    )
    assert await store.sessions.create(session) == session
    stored = await store.sessions.get(session.id)
    assert stored == session
    assert stored.created_at.tzinfo is UTC
    assert isinstance(stored.status, SessionStatus)
    assert isinstance(stored.phase, SessionPhase)


@pytest.mark.parametrize("session_id", ["unknown", "", "nul \x00", "surrogate \ud800"])
async def test_an_unknown_session_is_not_found(store: Store, session_id: str) -> None:
    with pytest.raises(SessionNotFoundError):
        await store.sessions.get(session_id)
    with pytest.raises(SessionNotFoundError):
        await store.sessions.set_status(session_id, SessionStatus.CLOSED, START)
    with pytest.raises(SessionNotFoundError):
        await store.sessions.delete(session_id)
    with pytest.raises(InvalidInputError, match=r"after: no session has this id"):
        await store.sessions.list_ids(user_id=None, limit=5, after=session_id)


async def test_the_same_id_again_is_a_repeat_or_a_conflict(store: Store) -> None:
    session = await store.sessions.create(new_session(metadata={"first": 1}))
    await store.events.append(session.id, [new_event()])
    repeat = await store.sessions.create(replace(session, metadata={"second": 2}))
    assert repeat == await store.sessions.get(session.id)
    assert (repeat.last_seq, repeat.metadata) == (1, {"first": 1})
    with pytest.raises(SessionConflictError):
        await store.sessions.create(replace(session, creation_digest="other"))
    assert await store.sessions.get(session.id) == repeat


async def test_a_repeat_by_id_does_not_mind_the_users_other_sessions(store: Store) -> None:
    other = new_session(id="other", creation_digest="other")
    session = new_session(id="mine", creation_digest="mine")
    await store.sessions.create(other)
    await store.sessions.create(session)
    assert await store.sessions.create(session) == session


async def test_the_same_key_of_a_user_is_a_repeat_or_a_conflict(store: Store) -> None:
    session = await store.sessions.create(new_session(idempotency_key="key"))
    assert await store.sessions.create(new_session(idempotency_key="key")) == session
    with pytest.raises(SessionConflictError):
        await store.sessions.create(new_session(idempotency_key="key", creation_digest="other"))
    other_user = new_session(user_id="bob", idempotency_key="key", creation_digest="other")
    assert await store.sessions.create(other_user) == other_user
    unkeyed = [await store.sessions.create(new_session()) for _ in range(2)]
    listed = await store.sessions.list_ids(user_id=None, limit=10)
    assert set(listed) == {session.id, other_user.id, *(each.id for each in unkeyed)}


async def test_id_and_key_of_two_stored_sessions(store: Store) -> None:
    by_id = await store.sessions.create(new_session())
    by_key = await store.sessions.create(new_session(idempotency_key="key"))
    assert await store.sessions.create(replace(by_id, idempotency_key="key")) == by_id
    await store.sessions.delete(by_key.id)
    await store.sessions.create(replace(by_key, creation_digest="other"))
    with pytest.raises(SessionConflictError):
        await store.sessions.create(replace(by_id, idempotency_key="key"))


async def test_a_repeat_is_found_before_it_is_created(store: Store) -> None:
    session = new_session(idempotency_key="key")
    assert await store.sessions.find_repeat(session) is None
    await store.sessions.create(session)
    assert await store.sessions.find_repeat(replace(session, cwd="")) == session
    assert await store.sessions.find_repeat(new_session(idempotency_key="key")) == session
    assert await store.sessions.find_repeat(new_session(user_id="bob", idempotency_key="key")) is None
    for same in (session, new_session(idempotency_key="key")):
        with pytest.raises(SessionConflictError):
            await store.sessions.find_repeat(replace(same, creation_digest="other"))


async def test_one_of_many_creations_at_once_wins(store: Store) -> None:
    same = [new_session(idempotency_key="key") for _ in range(20)]
    created = await asyncio.gather(*map(store.sessions.create, same))
    assert len({session.id for session in created}) == 1
    assert await store.sessions.list_ids(user_id=None, limit=30) == [created[0].id]


async def test_lists_are_newest_first_and_page(store: Store) -> None:
    times = [START + timedelta(seconds=number // 2) for number in range(10)]
    made = [new_session(created_at=time, user_id="ab"[number % 2]) for number, time in enumerate(times)]
    await asyncio.gather(*map(store.sessions.create, made))
    newest = [each.id for each in sorted(made, key=lambda each: (each.created_at, each.id), reverse=True)]
    of_a = [session_id for session_id in newest if any(e.id == session_id and e.user_id == "a" for e in made)]

    assert await store.sessions.list_ids(user_id=None, limit=100) == newest
    assert await store.sessions.list_ids(user_id="a", limit=100) == of_a
    assert await store.sessions.list_ids(user_id="nobody", limit=100) == []
    paged: list[str] = []
    while page := await store.sessions.list_ids(user_id=None, limit=3, after=paged[-1] if paged else None):
        assert len(page) <= 3
        paged += page
    assert paged == newest
    assert await store.sessions.list_ids(user_id="a", limit=2, after=of_a[0]) == of_a[1:3]
    of_b = next(session_id for session_id in newest if session_id not in of_a)
    with pytest.raises(InvalidInputError, match=r"after: no session has this id"):
        await store.sessions.list_ids(user_id="a", limit=2, after=of_b)


async def test_heads_tell_what_changes(store: Store) -> None:
    one, two = [await store.sessions.create(new_session()) for _ in range(2)]
    await store.events.append(one.id, [new_event(EventType.STATUS_RUNNING), new_event()])
    lease = await store.leases.claim(one.id, "replica \x00")
    assert lease is not None
    await store.sessions.set_status(two.id, SessionStatus.CLOSED, START)

    heads = await store.sessions.heads([one.id, "unknown", two.id])
    assert heads == {
        one.id: SessionHead(
            one.id, 2, SessionStatus.ACTIVE, SessionPhase.RUNNING, lease.replica_id, lease.epoch
        ),
        two.id: SessionHead(two.id, 0, SessionStatus.CLOSED, SessionPhase.IDLE, None, 0),
    }
    assert await store.sessions.heads([]) == {}
    assert await store.sessions.heads({two.id}) == {two.id: heads[two.id]}


async def test_heads_of_more_sessions_than_a_statement_takes(store: Store) -> None:
    session = await store.sessions.create(new_session())
    asked = [*(f"unknown {number}" for number in range(40_000)), session.id]
    assert list(await store.sessions.heads(asked)) == [session.id]


async def test_counts(store: Store) -> None:
    one, *_ = [await store.sessions.create(new_session()) for _ in range(3)]
    await store.sessions.set_status(one.id, SessionStatus.CLOSED, START)
    assert await store.sessions.count(SessionStatus.ACTIVE) == 2
    assert await store.sessions.count(SessionStatus.CLOSED) == 1


async def test_set_status_sets_the_status_and_the_time_only(store: Store) -> None:
    session = await store.sessions.create(new_session(metadata={"a": 1}))
    later = START + timedelta(days=1)
    changed = await store.sessions.set_status(session.id, SessionStatus.CLOSED, later)
    assert changed == replace(session, status=SessionStatus.CLOSED, last_active_at=later)
    assert await store.sessions.get(session.id) == changed


async def test_unused_sessions_are_closed(store: Store) -> None:
    old, recent, running, closed = made = [
        new_session(last_active_at=START + timedelta(days=1)),
        new_session(last_active_at=START + timedelta(days=2)),
        new_session(phase=SessionPhase.RUNNING),
        new_session(status=SessionStatus.CLOSED),
    ]
    for session in made:
        await store.sessions.create(session)
    assert await store.sessions.close_unused(START + timedelta(days=2)) == [old.id]
    assert await store.sessions.close_unused(START + timedelta(days=2)) == []
    assert await store.sessions.get(old.id) == replace(old, status=SessionStatus.CLOSED)
    for session in (recent, running, closed):
        assert await store.sessions.get(session.id) == session


async def test_a_message_opens_the_session_that_was_closed_meanwhile(store: Store) -> None:
    session = await store.sessions.create(new_session(status=SessionStatus.CLOSED))
    await store.events.append(session.id, [new_event(type=EventType.STATUS_IDLE)])
    assert (await store.sessions.get(session.id)).status is SessionStatus.CLOSED
    await store.events.append(session.id, [new_event(type=EventType.USER_MESSAGE)])
    assert (await store.sessions.get(session.id)).status is SessionStatus.ACTIVE


async def test_at_most_500_sessions_are_closed_at_once(store: Store) -> None:
    await asyncio.gather(*(store.sessions.create(new_session()) for _ in range(501)))
    later = START + timedelta(seconds=1)
    assert [len(await store.sessions.close_unused(later)) for _ in range(3)] == [500, 1, 0]


async def test_deleting_takes_events_and_transcripts_along(store: Store) -> None:
    gone, kept = [await store.sessions.create(new_session()) for _ in range(2)]
    for session in (gone, kept):
        await store.events.append(session.id, [new_event()])
        for subpath in ("", "subagents/a"):
            await store.transcripts.append(TranscriptKey("p", session.id, subpath), [{"n": 1}])
    await store.sessions.delete(gone.id)

    with pytest.raises(SessionNotFoundError):
        await store.sessions.get(gone.id)
    with pytest.raises(SessionNotFoundError):
        await store.events.append(gone.id, [new_event()])
    assert await store.events.read(gone.id) == []
    assert await store.transcripts.load(TranscriptKey("p", gone.id)) is None
    assert await store.transcripts.subpaths("p", gone.id) == []
    assert len(await store.events.read(kept.id)) == 1
    assert await store.transcripts.load(TranscriptKey("p", kept.id)) == [{"n": 1}]
    assert await store.transcripts.subpaths("p", kept.id) == ["subagents/a"]

    await store.sessions.create(gone)
    assert [event.seq for event in await store.events.append(gone.id, [new_event()])] == [1]


async def test_deleting_amid_appends_leaves_no_event_behind(store: Store) -> None:
    session = await store.sessions.create(new_session())
    appends = [asyncio.create_task(store.events.append(session.id, [new_event()])) for _ in range(40)]
    await appends[0]
    await store.sessions.delete(session.id)
    for result in await asyncio.gather(*appends, return_exceptions=True):
        assert not isinstance(result, BaseException) or isinstance(result, SessionNotFoundError)
    assert await store.events.read(session.id) == []


async def test_one_session_for_each_folder_that_a_user_used(store: Store) -> None:
    used = {"message_count": 1}
    for session_id, cwd in (("3", "/b"), ("1", "/b"), ("2", "/a"), ("4", "/c")):
        await store.sessions.create(new_session(id=session_id, cwd=cwd, **used))
    await store.sessions.create(new_session(id="0", cwd="/b"))  # never spoken to
    await store.sessions.create(new_session(id="5", cwd="/d", user_id="another", **used))
    user = new_session().user_id
    assert [each.id for each in await store.sessions.one_a_folder(user, limit=2)] == ["2", "1"]
    assert [each.id for each in await store.sessions.one_a_folder(user, limit=9, after="/a")] == ["1", "4"]
    assert await store.sessions.one_a_folder(user, limit=9, after="/c") == []
    assert await store.sessions.one_a_folder(user, limit=1) == [await store.sessions.get("2")]
