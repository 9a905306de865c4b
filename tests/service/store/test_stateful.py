"""SQLite does what memory does, whatever is asked in whatever order."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from tests.service.store.values import START, new_event, new_session

from claude_agent_http.domain.errors import ClaudeAgentError
from claude_agent_http.domain.event import EventType
from claude_agent_http.domain.session import SessionStatus
from claude_agent_http.ports import Store, TranscriptKey
from claude_agent_http.store import memory_store, sqlite_store

_IDS = st.sampled_from(["s1", "s2", "s3", "s4"])
_KEYS = st.builds(
    TranscriptKey, st.just("p"), st.sampled_from(["s1", "s2", "s\x00"]), st.sampled_from(["", "a", "b"])
)
_TEXT = st.text(st.characters(), max_size=5)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=5,
)
_DATA = st.dictionaries(_TEXT, _JSON, max_size=3)
_EVENTS = st.lists(
    st.builds(
        new_event,
        st.sampled_from(EventType),
        id=st.integers(0, 30).map(lambda number: f"sevt_{number}"),
        data=_DATA,
    ),
    max_size=4,
)


class _StillClock:
    def now(self) -> datetime:
        return START

    def monotonic(self) -> float:
        return 0.0


class Stores(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        path = Path(self._folder.name) / "agents.db"
        self._runner = asyncio.Runner()
        clock = _StillClock()
        self._stores = [memory_store(clock), sqlite_store(path, clock, synchronous="NORMAL")]
        for store in self._stores:
            self._runner.run(store.open())

    def teardown(self) -> None:
        for store in self._stores:
            self._runner.run(store.close())
        self._runner.close()
        self._folder.cleanup()

    def _same(self, ask: Callable[[Store], Awaitable[Any]]) -> None:
        async def outcome(store: Store) -> Any:
            try:
                return await ask(store)
            except ClaudeAgentError as error:
                return type(error), str(error)

        memory, sqlite = [self._runner.run(outcome(store)) for store in self._stores]
        assert sqlite == memory

    @rule(
        session_id=_IDS,
        key=st.none() | st.sampled_from("kl"),
        digest=st.sampled_from("dde"),
        user=st.sampled_from("ab"),
        age=st.integers(0, 3),
        metadata=_DATA,
    )
    def create(self, session_id, key, digest, user, age, metadata) -> None:
        session = replace(
            new_session(id=session_id, idempotency_key=key, creation_digest=digest, user_id=user),
            created_at=START - timedelta(microseconds=age),
            last_active_at=START - timedelta(microseconds=age),
            metadata=metadata,
        )
        self._same(lambda store: store.sessions.find_repeat(session))
        self._same(lambda store: store.sessions.create(session))

    @rule(session_id=_IDS, events=_EVENTS)
    def append(self, session_id, events) -> None:
        self._same(lambda store: store.events.append(session_id, events))

    @rule(
        session_id=_IDS,
        after=st.integers(0, 10),
        limit=st.integers(0, 10),
        types=st.none() | st.frozensets(st.sampled_from(EventType), max_size=9),
    )
    def read(self, session_id, after, limit, types) -> None:
        self._same(lambda store: store.events.read(session_id, after=after, limit=limit, types=types))
        self._same(lambda store: store.sessions.get(session_id))

    @rule(session_id=_IDS)
    def delete(self, session_id) -> None:
        self._same(lambda store: store.sessions.delete(session_id))

    @rule(session_id=_IDS, status=st.sampled_from(SessionStatus))
    def set_status(self, session_id, status) -> None:
        self._same(lambda store: store.sessions.set_status(session_id, status, START))

    @rule(age=st.integers(0, 3))
    def close_unused(self, age) -> None:
        self._same(lambda store: store.sessions.close_unused(START - timedelta(microseconds=age)))

    @rule(user=st.none() | st.sampled_from("ab"), limit=st.integers(0, 3), after=st.none() | _IDS)
    def look(self, user, limit, after) -> None:
        self._same(lambda store: store.sessions.list_ids(user_id=user, limit=limit, after=after))
        self._same(lambda store: store.sessions.running())
        self._same(lambda store: store.sessions.count(SessionStatus.ACTIVE))

    @rule(key=_KEYS, entries=st.lists(_DATA, max_size=3), uuid=st.none() | st.sampled_from("uv"))
    def write_transcript(self, key, entries, uuid) -> None:
        marked = [entry if uuid is None else entry | {"uuid": uuid} for entry in entries]
        self._same(lambda store: store.transcripts.append(key, marked))

    @rule(key=_KEYS)
    def read_transcript(self, key) -> None:
        self._same(lambda store: store.transcripts.load(key))
        self._same(lambda store: store.transcripts.subpaths(key.project_key, key.session_id))
        self._same(lambda store: store.transcripts.sessions(key.project_key))

    @rule(key=_KEYS)
    def delete_transcript(self, key) -> None:
        self._same(lambda store: store.transcripts.delete(key))


TestStores = Stores.TestCase
TestStores.settings = settings(max_examples=25, stateful_step_count=30, deadline=None, derandomize=True)
