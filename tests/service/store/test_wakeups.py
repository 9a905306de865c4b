"""What replicas tell each other, over the bus of one process and over Postgres."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.service.store.conftest import Place
from tests.service.store.peers import Peer, in_seconds, until_connected
from tests.service.store.values import NASTY_TEXTS
from tests.waiting import until

from claude_agent_http.domain.event import Delta, EventType, Withdrawn
from claude_agent_http.domain.wakeup import Appended, Changed, PeersChanged, Wakeup, Wanted
from claude_agent_http.ports import Store
from claude_agent_http.store.memory import MemoryStore

KINDS = [pytest.param("memory"), pytest.param("postgres", marks=pytest.mark.tier("postgres"))]


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(f"{request.param}_place")
    return found


@pytest.fixture
async def stores(place: Place) -> AsyncIterator[list[Store]]:
    first = place.make()
    if isinstance(first, MemoryStore):
        found: list[Store] = [first, first.replica(), first.replica()]
    else:
        found = [first, place.make(), place.make()]
    yield found
    for store in found:
        await store.close()


@pytest.fixture
async def peers(stores: list[Store], place: Place) -> list[Peer]:
    found = [Peer(store.wakeups) for store in stores]
    for peer in found:
        await peer.start()
    if place.is_postgres:
        await until_connected(found)
    return found


def delta(text: str, offset: int = 0, event_id: str = "sevt_1") -> Delta:
    return Delta("session", event_id, EventType.AGENT_MESSAGE, offset, text)


async def test_what_is_told_reaches_all_others_and_not_oneself(peers: list[Peer]) -> None:
    one, two, three = peers
    words: list[Wakeup] = [
        Appended("session", 7),
        Changed("session"),
        Wanted("session"),
        PeersChanged(),
        delta("hello"),
        Withdrawn("session", "sevt_1"),
    ]
    for word in words:
        one.wakeups.tell(word)
    for peer in (two, three):
        await peer.until_heard(*words)
    two.wakeups.tell(Changed("an answer"))
    for peer in (one, three):
        await peer.until_heard(Changed("an answer"))
    assert one.heard == [Changed("an answer")]
    assert sorted(map(repr, two.heard)) == sorted(map(repr, words))


async def test_the_last_word_of_many_arrives(peers: list[Peer]) -> None:
    one, *others = peers
    for seq in range(1, 5001):
        one.wakeups.tell(Appended("session", seq))
        if seq % 100 == 0:
            await asyncio.sleep(0)
    for peer in others:
        await peer.until_heard(Appended("session", 5000))
        seqs = [word.seq for word in peer.heard if isinstance(word, Appended)]
        assert seqs == sorted(seqs)


@pytest.mark.parametrize("text", [*NASTY_TEXTS, "\ud83d\ude00"])
async def test_any_text_arrives_as_it_was_told(peers: list[Peer], text: str) -> None:
    one, *others = peers
    named: list[Wakeup] = [Changed(f"s{text}"), Withdrawn(f"s{text}", "e")] if "\ud83d" not in text else []
    one.wakeups.tell(delta(f"a{text}"))
    one.wakeups.tell(delta(f"{text}b", 1 + len(text)))
    for word in (*named, Changed("end")):
        one.wakeups.tell(word)
    for peer in others:
        await peer.until_heard(*named, Changed("end"))
        assert peer.text("sevt_1") == f"a{text}{text}b"


@pytest.mark.parametrize("character", ["x", "\U0001f600", "\x00", "\ud800"])
async def test_a_long_text_arrives_whole_and_in_order(peers: list[Peer], character: str) -> None:
    one, *others = peers
    text = "".join(f"{number}{character}" for number in range(20_000))
    assert len(text) > 100_000
    one.wakeups.tell(delta(text[:99_999]))
    for start in range(99_999, len(text), 7):
        one.wakeups.tell(delta(text[start : start + 7], start))
        if start % 700 == 0:
            await asyncio.sleep(0)
    one.wakeups.tell(Changed("end"))
    for peer in others:
        await peer.until_heard(Changed("end"))
        assert peer.text("sevt_1") == text


async def test_messages_written_at_once_come_in_order_each(peers: list[Peer]) -> None:
    one, two, three = peers
    for number in range(300):
        for event_id, teller in (("sevt_1", one), ("sevt_2", one), ("sevt_3", two)):
            teller.wakeups.tell(delta(f"{number:04}", number * 4, event_id))
        await asyncio.sleep(0)
    expected = "".join(f"{number:04}" for number in range(300))
    await until(lambda: all(three.text(f"sevt_{number}") == expected for number in (1, 2, 3)))


async def test_a_withdrawal_comes_behind_what_it_takes_back(peers: list[Peer]) -> None:
    one, two, _ = peers
    told: list[Wakeup] = [delta("wrong"), Withdrawn("session", "sevt_1"), delta("right", 0, "sevt_2")]
    for word in told:
        one.wakeups.tell(word)
    await two.until_heard(*told)
    assert two.heard == told


async def test_what_was_told_before_the_end_still_arrives(peers: list[Peer]) -> None:
    one, two, three = peers
    one.wakeups.tell(Changed("last words"))
    assert await in_seconds(one.wakeups.close()) < 1
    await two.until_heard(Changed("last words"))
    one.wakeups.tell(Changed("too late"))
    two.wakeups.tell(Changed("to whom it may concern"))
    await three.until_heard(Changed("last words"), Changed("to whom it may concern"))
    assert one.heard == []
    assert Changed("too late") not in [*two.heard, *three.heard]
    await one.wakeups.close()


async def test_who_was_never_started_tells_and_hears_nothing(stores: list[Store], place: Place) -> None:
    asleep, two, three = [Peer(store.wakeups) for store in stores]
    for peer in (two, three):
        await peer.start()
    if place.is_postgres:
        await until_connected([two, three])
    asleep.wakeups.tell(Changed("talking in its sleep"))
    await asleep.wakeups.close()
    two.wakeups.tell(Changed("session"))
    await three.until_heard(Changed("session"))
    assert three.heard == [Changed("session")]
    assert asleep.heard == []


async def test_a_database_of_one_process_needs_no_words(sqlite_place: Place) -> None:
    store = sqlite_place.make()
    await store.open()
    assert not store.is_shared
    peer = Peer(store.wakeups)
    await peer.start()
    peer.wakeups.tell(Changed("session"))
    await store.close()
    assert (peer.heard, peer.missed) == ([], 0)
