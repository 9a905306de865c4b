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
from tests.proof import amount
from tests.service.store.values import START, delete_expired, new_event, new_session

from claude_agent_http.domain.errors import ClaudeAgentError
from claude_agent_http.domain.event import EventType
from claude_agent_http.domain.lease import Lease, Replica
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
_REPLICAS = st.sampled_from(["r1", "r2", "r\x00"])
_NUMBERS = st.integers(0, 9)
_SECONDS = st.integers(1, 5)


async def _sorted(leases: Awaitable[list[Lease]]) -> list[Lease]:
    return sorted(await leases, key=lambda lease: (lease.session_id, lease.epoch))


class _HeldClock:
    """Goes on when the test says so, and so is the same for both stores."""

    time = START

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()


class Stores(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        path = Path(self._folder.name) / "agents.db"
        self._runner = asyncio.Runner()
        self._clock = clock = _HeldClock()
        self._granted = [Lease("s1", "r1", 1)]
        self._stores = [memory_store(clock), sqlite_store(path, clock, synchronous="NORMAL")]
        for store in self._stores:
            self._runner.run(store.open())

    def teardown(self) -> None:
        for store in self._stores:
            self._runner.run(store.close())
        self._runner.close()
        self._folder.cleanup()

    def _lease(self, number: int) -> Lease:
        """One that was granted, the last ones sooner than others."""
        return self._granted[-1 - number % min(4, len(self._granted))]

    def _same(self, ask: Callable[[Store], Awaitable[Any]]) -> Any:
        async def outcome(store: Store) -> Any:
            try:
                return await ask(store)
            except ClaudeAgentError as error:
                return type(error), str(error)

        memory, sqlite = [self._runner.run(outcome(store)) for store in self._stores]
        assert sqlite == memory
        return memory

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

    @rule(session_id=_IDS, events=_EVENTS, opens_turn=st.booleans())
    def append(self, session_id, events, opens_turn) -> None:
        self._same(lambda store: store.events.append(session_id, events, opens_turn=opens_turn))

    @rule(number=_NUMBERS, events=_EVENTS, opens_turn=st.booleans())
    def append_as_holder(self, number, events, opens_turn) -> None:
        lease = self._lease(number)
        self._same(
            lambda store: store.events.append(lease.session_id, events, lease=lease, opens_turn=opens_turn)
        )

    @rule(seconds=_SECONDS)
    def pass_time(self, seconds) -> None:
        self._clock.time += timedelta(seconds=seconds)

    @rule(replica_id=_REPLICAS, seconds=_SECONDS)
    def join(self, replica_id, seconds) -> None:
        self._same(lambda store: store.leases.join(Replica(replica_id, "name", "1"), seconds))
        self._same(lambda store: store.leases.renew(replica_id, seconds))

    @rule(replica_id=_REPLICAS, seconds=_SECONDS)
    def renew(self, replica_id, seconds) -> None:
        self._same(lambda store: store.leases.renew(replica_id, seconds))

    @rule(replica_id=_REPLICAS)
    def leave(self, replica_id) -> None:
        self._same(lambda store: store.leases.leave(replica_id))

    @rule(session_id=_IDS, replica_id=_REPLICAS)
    def claim(self, session_id, replica_id) -> None:
        lease = self._same(lambda store: store.leases.claim(session_id, replica_id))
        self._granted += [lease] if isinstance(lease, Lease) else []

    @rule(session_id=_IDS, replica_id=_REPLICAS)
    def seize(self, session_id, replica_id) -> None:
        lease = self._same(lambda store: store.leases.seize(session_id, replica_id))
        self._granted += [lease] if isinstance(lease, Lease) else []

    @rule(number=_NUMBERS)
    def release(self, number) -> None:
        lease = self._lease(number)
        self._same(lambda store: store.leases.release(lease))

    @rule(number=_NUMBERS, limit=st.integers(0, 3))
    def ask_about_leases(self, number, limit) -> None:
        lease = self._lease(number)
        self._same(lambda store: store.leases.has_stopped(lease))
        self._same(lambda store: store.leases.is_alone(lease))
        self._same(lambda store: _sorted(store.leases.held(lease.replica_id)))
        self._same(lambda store: store.leases.orphans(lease.replica_id, limit))

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

    @rule(number=_NUMBERS)
    def delete_as_holder(self, number) -> None:
        lease = self._lease(number)
        self._same(lambda store: store.sessions.delete(lease.session_id, lease=lease))

    @rule(session_id=_IDS, status=st.sampled_from(SessionStatus))
    def set_status(self, session_id, status) -> None:
        self._same(lambda store: store.sessions.set_status(session_id, status, START))

    @rule(age=st.integers(0, 3))
    def close_unused(self, age) -> None:
        self._same(lambda store: store.sessions.close_unused(START - timedelta(microseconds=age)))

    @rule(age=st.integers(0, 3))
    def delete_closed(self, age) -> None:
        through = START - timedelta(microseconds=age)
        self._same(lambda store: store.sessions.expired(through))
        self._same(lambda store: delete_expired(store, through))

    @rule(most_bytes=st.integers(0, 300))
    def excess(self, most_bytes) -> None:
        self._same(lambda store: store.sessions.excess(most_bytes))

    @rule(user=st.none() | st.sampled_from("ab"), limit=st.integers(0, 3), after=st.none() | _IDS)
    def look(self, user, limit, after) -> None:
        self._same(lambda store: store.sessions.list_ids(user_id=user, limit=limit, after=after))
        self._same(lambda store: store.sessions.heads(["s1", "s2", "s3", "s4"]))
        self._same(lambda store: store.sessions.count(SessionStatus.ACTIVE))

    @rule(key=_KEYS, entries=st.lists(_DATA, max_size=3), uuid=st.none() | st.sampled_from("uv"))
    def write_transcript(self, key, entries, uuid) -> None:
        marked = [entry if uuid is None else entry | {"uuid": uuid} for entry in entries]
        self._same(lambda store: store.transcripts.append(key, marked))

    @rule(key=_KEYS, number=_NUMBERS, entries=st.lists(_DATA, max_size=2), uuid=st.sampled_from("uv"))
    def write_transcript_as_holder(self, key, number, entries, uuid) -> None:
        lease = self._lease(number)
        marked = [entry | {"uuid": uuid} for entry in entries]
        self._same(lambda store: store.transcripts.append(key, marked, lease=lease))

    @rule(key=_KEYS, number=_NUMBERS, uuid=st.sampled_from("uvw"))
    def rewind_transcript(self, key, number, uuid) -> None:
        lease = self._lease(number)
        self._same(lambda store: store.transcripts.append(key, [{"uuid": "u"}]))
        self._same(lambda store: store.transcripts.rewind(key, uuid, lease=lease))

    @rule(key=_KEYS)
    def read_transcript(self, key) -> None:
        self._same(lambda store: store.transcripts.load(key))
        self._same(lambda store: store.transcripts.subpaths(key.project_key, key.session_id))
        self._same(lambda store: store.transcripts.sessions(key.project_key))

    @rule(key=_KEYS)
    def delete_transcript(self, key) -> None:
        self._same(lambda store: store.transcripts.delete(key))


TestStores = Stores.TestCase
TestStores.settings = settings(
    max_examples=amount(25, 300), stateful_step_count=50, deadline=None, derandomize=True
)
