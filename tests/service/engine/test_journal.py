"""What a session's worker knows of its log without reading it."""

from datetime import UTC, datetime

import pytest

from claude_agent_http.domain.event import EventType, NewEvent
from claude_agent_http.domain.session import Session
from claude_agent_http.engine.hub import Hub
from claude_agent_http.engine.journal import Journal, SessionJournal
from claude_agent_http.store.memory import MemoryStore
from claude_agent_http.system.clock import SystemClock

ID, NOW = "session", datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def store() -> MemoryStore:
    made = MemoryStore(SystemClock())
    await made.sessions.create(Session(ID, "alice", None, "/work", NOW, NOW, "digest"))
    return made


@pytest.fixture
async def journal(store: MemoryStore) -> SessionJournal:
    made = SessionJournal(Journal(store.events, Hub(), store.wakeups), ID)
    lease = await store.leases.claim(ID, "here")
    assert lease is not None
    made.grant(lease)
    return made


def new(*names: str) -> list[NewEvent]:
    return [NewEvent(f"sevt_{name}", EventType.AGENT_MESSAGE, {}) for name in names]


async def test_nothing_foreign_is_in_a_log_that_was_all_appended_here(journal: SessionJournal) -> None:
    assert not journal.may_hold_foreign(0)
    await journal.append(new("a", "b"))
    await journal.append(new("c"))
    assert not journal.may_hold_foreign(3)


async def test_what_came_before_may_be_foreign(store: MemoryStore, journal: SessionJournal) -> None:
    await store.events.append(ID, new("x"))
    await journal.append(new("a"))
    assert journal.may_hold_foreign(2)


async def test_what_others_append_stays_foreign_until_it_was_read(
    store: MemoryStore, journal: SessionJournal
) -> None:
    await journal.append(new("a"))
    await store.events.append(ID, new("x"))
    await journal.append(new("b", "c"))
    assert journal.may_hold_foreign(2)
    assert journal.may_hold_foreign(4)
    journal.was_read(1)
    assert journal.may_hold_foreign(4)
    journal.was_read(2)
    assert not journal.may_hold_foreign(4)
    await journal.append(new("d"))
    assert not journal.may_hold_foreign(5)
    assert journal.may_hold_foreign(6)


async def test_what_comes_in_while_the_log_is_read_is_foreign_too(
    store: MemoryStore, journal: SessionJournal
) -> None:
    await journal.append(new("a"))
    await store.events.append(ID, new("x", "y"))
    journal.was_read(2)  # through where it was known to reach
    await journal.append(new("b"))
    assert journal.may_hold_foreign(4)


async def test_a_repeat_hides_nothing(store: MemoryStore, journal: SessionJournal) -> None:
    await journal.append(new("a"))
    await store.events.append(ID, new("x"))
    await journal.append(new("a", "b"))
    assert journal.may_hold_foreign(3)
