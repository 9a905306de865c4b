"""The transcript store, on every store."""

import asyncio

import pytest
from tests.service.store.values import NASTY_TEXTS, TickingClock, new_session

from claude_agent_http.domain.lease import Lease
from claude_agent_http.ports import Store, TranscriptKey

MAIN = TranscriptKey("project", "session")
SUB = TranscriptKey("project", "session", "subagents/agent-1")


async def test_entries_come_back_in_order(store: Store) -> None:
    assert await store.transcripts.load(MAIN) is None
    await store.transcripts.append(MAIN, [{"uuid": "z", "n": 1}, {"n": [2, None, {"b": 1.5}]}])
    await store.transcripts.append(MAIN, [{"uuid": "a", "n": 3}])
    assert await store.transcripts.load(MAIN) == [
        {"uuid": "z", "n": 1},
        {"n": [2, None, {"b": 1.5}]},
        {"uuid": "a", "n": 3},
    ]


async def test_an_append_of_nothing_stores_nothing(store: Store) -> None:
    await store.transcripts.append(MAIN, [])
    assert await store.transcripts.load(MAIN) is None
    assert await store.transcripts.sessions("project") == []


async def test_entries_are_kept_once_by_uuid_under_a_key(store: Store) -> None:
    await store.transcripts.append(MAIN, [{"uuid": "a", "n": 1}, {"n": 2}, {"uuid": "a", "n": 3}])
    await store.transcripts.append(MAIN, [{"uuid": "a", "n": 4}, {"uuid": "b", "n": 5}, {"n": 2}])
    await store.transcripts.append(SUB, [{"uuid": "a", "n": 6}])
    assert await store.transcripts.load(MAIN) == [
        {"uuid": "a", "n": 1},
        {"n": 2},
        {"uuid": "b", "n": 5},
        {"n": 2},
    ]
    assert await store.transcripts.load(SUB) == [{"uuid": "a", "n": 6}]


@pytest.mark.parametrize("uuid", [None, "", 7, ["a"]])
async def test_what_is_no_uuid_makes_no_repeat(store: Store, uuid: object) -> None:
    entries: list[dict[str, object]] = [{"uuid": uuid}, {"uuid": uuid}]
    await store.transcripts.append(MAIN, entries)
    assert await store.transcripts.load(MAIN) == entries


async def test_the_same_entries_at_once_are_stored_once(store: Store) -> None:
    entries = [{"uuid": str(number)} for number in range(20)]
    await asyncio.gather(*(store.transcripts.append(MAIN, entries) for _ in range(10)))
    loaded = await store.transcripts.load(MAIN)
    assert loaded is not None
    assert sorted(loaded, key=lambda entry: int(entry["uuid"])) == entries


async def test_keys_are_apart(store: Store) -> None:
    keys = [MAIN, SUB, TranscriptKey("other", "session"), TranscriptKey("project", "other")]
    for number, key in enumerate(keys):
        await store.transcripts.append(key, [{"n": number}])
    for number, key in enumerate(keys):
        assert await store.transcripts.load(key) == [{"n": number}]
    assert await store.transcripts.subpaths("project", "session") == ["subagents/agent-1"]
    assert await store.transcripts.subpaths("other", "session") == []


async def test_sessions_tell_the_time_of_the_last_append_of_main_transcripts(
    store: Store, clock: TickingClock
) -> None:
    await store.transcripts.append(SUB, [{"n": 1}])
    assert await store.transcripts.sessions("project") == []
    await store.transcripts.append(MAIN, [{"n": 1}])
    clock.time = clock.time.replace(year=2027, microsecond=500)
    await store.transcripts.append(MAIN, [{"n": 2}])
    last = int(clock.time.replace(microsecond=0).timestamp() * 1000)
    clock.time = clock.time.replace(year=2028)
    await store.transcripts.append(SUB, [{"n": 2}])
    assert await store.transcripts.sessions("project") == [("session", last)]
    assert await store.transcripts.sessions("other") == []


async def test_deleting_the_main_transcript_takes_the_subagents_along(store: Store) -> None:
    other = TranscriptKey("project", "other")
    for key in (MAIN, SUB, other):
        await store.transcripts.append(key, [{"uuid": "a"}])
    await store.transcripts.delete(MAIN)
    assert await store.transcripts.load(MAIN) is None
    assert await store.transcripts.load(SUB) is None
    assert await store.transcripts.load(other) == [{"uuid": "a"}]
    await store.transcripts.append(MAIN, [{"uuid": "a", "n": 2}])
    assert await store.transcripts.load(MAIN) == [{"uuid": "a", "n": 2}]


async def test_deleting_one_subpath_leaves_the_others(store: Store) -> None:
    another = TranscriptKey("project", "session", "subagents/agent-2")
    for key in (MAIN, SUB, another):
        await store.transcripts.append(key, [{"n": 1}])
    await store.transcripts.delete(SUB)
    await store.transcripts.delete(SUB)
    assert await store.transcripts.load(SUB) is None
    assert await store.transcripts.load(MAIN) == [{"n": 1}]
    assert await store.transcripts.subpaths("project", "session") == [another.subpath]


@pytest.mark.parametrize("text", NASTY_TEXTS)
async def test_any_text_comes_back(store: Store, text: str) -> None:
    key = TranscriptKey(f"p{text}", f"s{text}", f"sub{text}")
    entries: list[dict[str, object]] = [{"uuid": f"u{text}", text: text}, {"list": [text]}]
    await store.transcripts.append(key, entries)
    await store.transcripts.append(key, entries[:1])
    assert await store.transcripts.load(key) == entries
    assert await store.transcripts.subpaths(key.project_key, key.session_id) == [key.subpath]


async def test_a_large_entry_comes_back(store: Store) -> None:
    entry = {"uuid": "a", "text": "ü\ud800" * (5 * 1024 * 1024 // 2)}
    await store.transcripts.append(MAIN, [entry])
    assert await store.transcripts.load(MAIN) == [entry]


async def test_changing_what_was_loaded_changes_nothing_stored(store: Store) -> None:
    numbers = [1]
    entry = {"list": numbers}
    await store.transcripts.append(MAIN, [entry])
    numbers.append(2)
    loaded = await store.transcripts.load(MAIN)
    assert loaded == [{"list": [1]}]
    loaded[0]["list"].append(3)
    assert await store.transcripts.load(MAIN) == [{"list": [1]}]


@pytest.fixture
async def lease(store: Store) -> Lease:
    session = await store.sessions.create(new_session(id=MAIN.session_id))
    lease = await store.leases.claim(session.id, "a")
    assert lease is not None
    return lease


async def test_rewinding_takes_an_entry_and_all_behind_it(store: Store, lease: Lease) -> None:
    other = TranscriptKey("other", "session")
    entries: list[dict[str, object]] = [{"uuid": "a"}, {"n": 1}, {"uuid": "b"}, {"n": 2}, {"uuid": "c"}]
    for key in (MAIN, SUB, other):
        await store.transcripts.append(key, entries)
    assert await store.transcripts.rewind(MAIN, "b", lease=lease)
    assert await store.transcripts.load(MAIN) == entries[:2]
    for uuid in ("b", "c", "unknown", "", "nul \x00"):
        assert not await store.transcripts.rewind(MAIN, uuid, lease=lease)
    for key in (SUB, other):
        assert await store.transcripts.load(key) == entries
    await store.transcripts.append(MAIN, [{"uuid": "b", "again": True}, {"uuid": "a"}])
    assert await store.transcripts.load(MAIN) == [*entries[:2], {"uuid": "b", "again": True}]


async def test_rewinding_to_the_beginning_leaves_nothing(store: Store, lease: Lease) -> None:
    for key in (MAIN, SUB):
        await store.transcripts.append(key, [{"uuid": "a"}, {"n": 1}])
        assert await store.transcripts.rewind(key, "a", lease=lease)
        assert await store.transcripts.load(key) is None
    assert await store.transcripts.sessions("project") == []
    assert await store.transcripts.subpaths("project", "session") == []
    assert not await store.transcripts.rewind(TranscriptKey("project", "unknown"), "a", lease=lease)
