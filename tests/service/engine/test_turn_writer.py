"""A turn's events on their way to the log: in order, gathered, and none lost on the way."""

import asyncio
from collections.abc import Sequence

import pytest
from tests.waiting import until

from claude_agent_http.domain import vocabulary
from claude_agent_http.domain.errors import ClaudeAgentError, StorageError
from claude_agent_http.domain.event import Event, NewEvent
from claude_agent_http.engine.journal import SessionJournal
from claude_agent_http.engine.turn_writer import TurnWriter


class Appends(SessionJournal):
    """Notes the ids of each append, which lasts while `gate` is clear and fails while `error` is set."""

    def __init__(self) -> None:
        self.session_id = "s"
        self.ids: list[list[str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def append(self, events: Sequence[NewEvent], *, opens_turn: bool = False) -> list[Event]:
        self.ids.append([event.id for event in events])
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return []


@pytest.fixture
def appends() -> Appends:
    return Appends()


def event(number: int) -> NewEvent:
    return vocabulary.user_message(str(number), "text")


async def test_what_comes_together_is_stored_together(appends: Appends) -> None:
    async with TurnWriter(appends) as writer:
        for number in range(3):
            await writer.put(event(number))
        assert appends.ids == []
        await until(lambda: bool(appends.ids))
    assert (appends.ids, writer.unstored) == ([["0", "1", "2"]], [])


async def test_what_comes_during_an_append_is_stored_behind_it(appends: Appends) -> None:
    appends.gate.clear()
    async with TurnWriter(appends) as writer:
        first = asyncio.create_task(writer.commit(event(0)))
        await until(lambda: bool(appends.ids))
        await writer.put(event(1))
        await writer.put(event(2))
        appends.gate.set()
        await first
        await until(lambda: len(appends.ids) == 2)
    assert (appends.ids, writer.unstored) == ([["0"], ["1", "2"]], [])


async def test_a_commit_takes_along_what_was_put_before_it_and_returns_when_all_is_stored(
    appends: Appends,
) -> None:
    appends.gate.clear()
    async with TurnWriter(appends) as writer:
        await writer.put(event(0))
        commit = asyncio.create_task(writer.commit(event(1)))
        await until(lambda: bool(appends.ids))
        assert (appends.ids, commit.done()) == ([["0", "1"]], False)
        appends.gate.set()
        await asyncio.wait_for(commit, 5)


async def test_what_still_waits_at_the_exit_is_the_callers_to_store(appends: Appends) -> None:
    async with TurnWriter(appends) as writer:
        await writer.commit(event(0))
        await writer.put(event(1))
    assert appends.ids == [["0"]]
    assert [one.id for one in writer.unstored] == ["1"]


async def test_a_failed_append_is_told_once_more_is_put_and_loses_nothing(
    appends: Appends,
) -> None:
    appends.error = StorageError("away")
    async with TurnWriter(appends) as writer:
        await writer.put(event(0))
        await writer.put(event(1))
        await until(lambda: bool(writer.unstored))
        with pytest.raises(StorageError, match="away"):
            await writer.put(event(2))
    assert [one.id for one in writer.unstored] == ["0", "1"]


async def test_an_append_that_fails_during_the_exit_comes_before_what_waited(appends: Appends) -> None:
    appends.gate.clear()
    appends.error = StorageError("away")
    writer = TurnWriter(appends)
    async with writer:
        commit = asyncio.create_task(writer.commit(event(0)))
        await until(lambda: bool(appends.ids))
        await writer.put(event(1))
        asyncio.get_running_loop().call_soon(appends.gate.set)
    with pytest.raises(StorageError, match="away"):
        await commit
    assert [one.id for one in writer.unstored] == ["0", "1"]


async def test_an_unforeseen_failure_loses_no_event_either(appends: Appends) -> None:
    appends.error = ZeroDivisionError()
    writer = TurnWriter(appends)

    async def write() -> None:
        async with writer:
            await writer.put(event(0))
            await until(lambda: bool(appends.ids))
            await writer.put(event(1))

    with pytest.raises(ZeroDivisionError):
        await write()
    assert [one.id for one in writer.unstored] == ["0", "1"]


async def test_after_the_turn_nothing_is_taken(appends: Appends) -> None:
    async with TurnWriter(appends) as writer:
        pass
    with pytest.raises(ClaudeAgentError, match="the turn is over"):
        await writer.commit(event(0))
    assert (appends.ids, writer.unstored) == ([], [])


async def test_the_queue_is_bounded(appends: Appends) -> None:
    appends.gate.clear()
    async with TurnWriter(appends) as writer:
        many = asyncio.create_task(_put_all(writer, range(1000)))
        await until(lambda: bool(appends.ids))
        await asyncio.sleep(0)
        assert not many.done()
        assert len(appends.ids[0]) <= 256
        appends.gate.set()
        await asyncio.wait_for(many, 5)
        await writer.commit(event(1000))
    assert [id_ for batch in appends.ids for id_ in batch] == [str(number) for number in range(1001)]


async def _put_all(writer: TurnWriter, numbers: range) -> None:
    for number in numbers:
        await writer.put(event(number))
