"""The event log, on every store."""

import asyncio
from dataclasses import replace
from datetime import UTC
from uuid import uuid4

import pytest
from tests.service.store.values import NASTY_TEXTS, TickingClock, new_event, new_session, seqs, whole_log

from claude_agent_http.domain.errors import SessionNotFoundError
from claude_agent_http.domain.event import EventType
from claude_agent_http.domain.session import SessionPhase, project
from claude_agent_http.ports import Store


async def test_events_come_back_as_they_went_in(store: Store, clock: TickingClock) -> None:
    session = await store.sessions.create(new_session())
    new = [new_event(data={"a": [1, 2.5, None, True, {"b": "c"}]}, turn_id="sevt_1"), new_event(data={})]
    before = clock.now()
    appended = await store.events.append(session.id, new)
    after = clock.now()

    read = await store.events.read(session.id)
    assert read == appended
    assert [(each.id, each.type, each.data, each.turn_id) for each in read] == [
        (each.id, each.type, each.data, each.turn_id) for each in new
    ]
    assert seqs(read) == [1, 2]
    assert {each.session_id for each in read} == {session.id}
    for each in read:
        assert before < each.processed_at < after
        assert each.processed_at.tzinfo is UTC


async def test_events_of_a_newer_version_are_read_with_the_others(store: Store) -> None:
    session = await store.sessions.create(new_session())
    unknown = replace(new_event(data={"new": 1}), type=EventType.told("agent.new_thing"))
    appended = await store.events.append(session.id, [new_event(), unknown, new_event()])

    read = await store.events.read(session.id)
    assert read == appended
    assert (read[1].type.value, read[1].data) == ("agent.new_thing", {"new": 1})
    assert seqs(await store.events.read(session.id, types=frozenset({new_event().type}))) == [1, 3]
    assert seqs(await store.events.append(session.id, [unknown, new_event()])) == [2, 4]


async def test_seqs_are_dense_under_concurrent_appends(store: Store) -> None:
    ids = [(await store.sessions.create(new_session())).id for _ in range(7)]

    async def appender(number: int) -> list[tuple[str, int]]:
        acknowledged = []
        for turn in range(6):
            session_id = ids[(number + turn) % len(ids)]
            events = [new_event() for _ in range(1 + turn % 3)]
            stored = await store.events.append(session_id, events)
            assert [event.id for event in stored] == [event.id for event in events]
            assert seqs(stored) == list(range(stored[0].seq, stored[0].seq + len(events)))
            acknowledged += [(session_id, event.seq) for event in stored]
        return acknowledged

    acknowledged = [pair for pairs in await asyncio.gather(*map(appender, range(50))) for pair in pairs]
    logs = {session_id: await whole_log(store, session_id) for session_id in ids}
    for session_id, log in logs.items():
        assert seqs(log) == list(range(1, len(log) + 1))
        assert (await store.sessions.get(session_id)).last_seq == len(log)
    assert sorted(acknowledged) == sorted(
        (each.session_id, each.seq) for log in logs.values() for each in log
    )


async def test_one_append_may_be_larger_than_a_batch(store: Store) -> None:
    session = await store.sessions.create(new_session())
    await store.events.append(session.id, [new_event() for _ in range(2500)])
    assert seqs(await whole_log(store, session.id)) == list(range(1, 2501))


async def test_an_append_of_nothing_stores_nothing(store: Store) -> None:
    session = await store.sessions.create(new_session())
    assert await store.events.append(session.id, []) == []
    assert await store.sessions.get(session.id) == session


async def test_a_repeated_id_returns_the_stored_event(store: Store) -> None:
    session = await store.sessions.create(new_session())
    first = new_event(EventType.USER_MESSAGE, data={"text": "first"})
    [stored] = await store.events.append(session.id, [first])

    again = new_event(EventType.USER_MESSAGE, id=first.id, data={"text": "other"})
    fresh = new_event()
    result = await store.events.append(session.id, [again, fresh, fresh])

    assert result[0] == stored
    assert result[1] == result[2]
    assert seqs(result) == [1, 2, 2]
    assert seqs(await whole_log(store, session.id)) == [1, 2]
    assert (await store.sessions.get(session.id)).message_count == 1


async def test_a_repeat_at_the_same_time_is_stored_once(store: Store) -> None:
    session = await store.sessions.create(new_session())
    event = new_event()
    results = await asyncio.gather(
        *(store.events.append(session.id, [event, new_event()]) for _ in range(20))
    )
    assert len({result[0].seq for result in results}) == 1
    assert seqs(await whole_log(store, session.id)) == list(range(1, 22))


async def test_of_several_under_one_id_at_once_the_first_stands_and_all_are_told_it(store: Store) -> None:
    """So an approval is decided once, whoever decides meanwhile."""
    session = await store.sessions.create(new_session())
    rivals = [new_event(id="sevt_1_decision", data={"result": str(number)}) for number in range(20)]
    told = await asyncio.gather(*(store.events.append(session.id, [rival]) for rival in rivals))
    [stored] = await store.events.read(session.id)
    assert [event for events in told for event in events] == [stored] * 20


async def test_an_id_may_be_used_in_two_sessions(store: Store) -> None:
    one, two = [await store.sessions.create(new_session()) for _ in range(2)]
    event = new_event()
    results = await asyncio.gather(*(store.events.append(each.id, [event]) for each in (one, two)))
    assert [(each.session_id, each.seq) for [each] in results] == [(one.id, 1), (two.id, 1)]


async def test_an_unknown_session_fails_only_its_own_append(store: Store) -> None:
    session = await store.sessions.create(new_session())
    unknown = str(uuid4())
    results = await asyncio.gather(
        *(store.events.append(each, [new_event()]) for each in (session.id, unknown, session.id)),
        return_exceptions=True,
    )
    assert isinstance(results[1], SessionNotFoundError)
    assert results[1].session_id == unknown
    assert seqs(await whole_log(store, session.id)) == [1, 2]
    assert await store.events.read(unknown) == []


async def test_reading_pages_by_seq(store: Store) -> None:
    session = await store.sessions.create(new_session())
    await store.events.append(session.id, [new_event() for _ in range(10)])
    assert seqs(await store.events.read(session.id, limit=4)) == [1, 2, 3, 4]
    assert seqs(await store.events.read(session.id, after=4, limit=4)) == [5, 6, 7, 8]
    assert seqs(await store.events.read(session.id, after=8, limit=4)) == [9, 10]
    assert await store.events.read(session.id, after=10) == []
    assert await store.events.read(session.id, limit=0) == []


async def test_reading_filters_by_type(store: Store) -> None:
    session = await store.sessions.create(new_session())
    kinds = [EventType.USER_MESSAGE, EventType.STATUS_RUNNING, EventType.AGENT_MESSAGE, EventType.STATUS_IDLE]
    await store.events.append(session.id, [new_event(kind) for kind in kinds * 2])
    both = frozenset({EventType.USER_MESSAGE, EventType.STATUS_IDLE})
    assert seqs(await store.events.read(session.id, types=both)) == [1, 4, 5, 8]
    assert seqs(await store.events.read(session.id, types=both, after=1, limit=2)) == [4, 5]
    assert await store.events.read(session.id, types=frozenset()) == []
    assert len(await store.events.read(session.id, types=None)) == 8


async def test_the_session_is_kept_by_the_rule_of_the_domain(store: Store) -> None:
    session = await store.sessions.create(new_session(metadata={"kept": [1]}))
    expected = session
    for kinds in (
        [EventType.USER_MESSAGE],
        [EventType.STATUS_RUNNING, EventType.AGENT_MESSAGE],
        [EventType.USER_MESSAGE, EventType.USER_MESSAGE, EventType.STATUS_IDLE, EventType.STATUS_RUNNING],
        [EventType.STATUS_IDLE],
    ):
        stored = await store.events.append(session.id, [new_event(kind) for kind in kinds])
        expected = project(expected, stored)
        assert await store.sessions.get(session.id) == expected
    assert (expected.phase, expected.message_count, expected.last_seq) == (SessionPhase.IDLE, 3, 8)


async def test_a_clock_that_goes_back_does_not_take_activity_back(store: Store, clock: TickingClock) -> None:
    later = clock.now().replace(year=2030)
    session = await store.sessions.create(new_session(last_active_at=later))
    await store.events.append(session.id, [new_event()])
    assert (await store.sessions.get(session.id)).last_active_at == later


@pytest.mark.parametrize("text", NASTY_TEXTS)
async def test_any_text_comes_back(store: Store, text: str) -> None:
    session = await store.sessions.create(
        new_session(user_id=f"u{text}", cwd=f"/{text}", metadata={text: text})
    )
    event = new_event(id=f"sevt_{text}", data={text: [text, {"k": text}]}, turn_id=text)
    appended = await store.events.append(session.id, [event])
    assert await store.events.append(session.id, [event]) == appended
    assert await store.events.read(session.id) == appended
    assert appended[0].data == event.data
    assert (appended[0].id, appended[0].turn_id) == (event.id, text)
    stored = await store.sessions.get(session.id)
    assert (stored.user_id, stored.cwd, stored.metadata) == (session.user_id, session.cwd, session.metadata)
    assert await store.sessions.list_ids(user_id=f"u{text}", limit=5) == [session.id]
    with pytest.raises(SessionNotFoundError):
        await store.events.append(f"unknown {text}", [new_event()])


async def test_a_large_event_comes_back(store: Store) -> None:
    session = await store.sessions.create(new_session())
    data = {"text": "ü\x00" * (5 * 1024 * 1024 // 2)}
    await store.events.append(session.id, [new_event(data=data)])
    [event] = await store.events.read(session.id)
    assert event.data == data


async def test_changing_what_was_given_or_returned_changes_nothing_stored(store: Store) -> None:
    session = await store.sessions.create(new_session())
    data = {"list": [1]}
    appending = asyncio.create_task(store.events.append(session.id, [new_event(data=data)]))
    await asyncio.sleep(0)  # it has begun, and may wait for its turn
    data["list"].append(2)
    await appending
    [read] = await store.events.read(session.id)
    assert read.data == {"list": [1]}
    read.data["list"].append(3)
    assert [each.data for each in await store.events.read(session.id)] == [{"list": [1]}]


async def test_a_cancelled_append_is_whole_or_absent_and_harms_nobody(store: Store) -> None:
    session = await store.sessions.create(new_session())
    victims = [
        asyncio.create_task(store.events.append(session.id, [new_event(), new_event()])) for _ in range(30)
    ]
    others = [asyncio.create_task(store.events.append(session.id, [new_event()])) for _ in range(30)]
    for number, victim in enumerate(victims):
        victim.cancel()
        if number % 3 == 0:
            await asyncio.sleep(0)
    await asyncio.gather(*victims, return_exceptions=True)
    acknowledged = [seq for result in await asyncio.gather(*others) for seq in seqs(result)]
    log = await whole_log(store, session.id)
    assert seqs(log) == list(range(1, len(log) + 1))
    assert len(set(acknowledged)) == 30
    assert (len(log) - 30) % 2 == 0
    assert await store.events.append(session.id, [new_event()])
