"""The store that forgets: the fake beside the real ones, with their semantics."""

from collections.abc import Collection, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from claude_agent_http.domain.errors import LeaseLostError, SessionBusyError, SessionNotFoundError
from claude_agent_http.domain.event import Event, EventType, NewEvent
from claude_agent_http.domain.lease import Lease
from claude_agent_http.domain.session import Session, SessionHead, SessionPhase, SessionStatus, project
from claude_agent_http.ports import Clock, TranscriptEntry, TranscriptKey
from claude_agent_http.store.closed import EXPIRED_AT_ONCE, in_parts
from claude_agent_http.store.columns import decode, encode
from claude_agent_http.store.entries import entry_uuid
from claude_agent_http.store.memory_api_keys import MemoryApiKeys
from claude_agent_http.store.memory_audit import MemoryAuditLog
from claude_agent_http.store.memory_leases import Bus, BusWakeups, MemoryLeases
from claude_agent_http.store.memory_usage import MemoryUsageStore, SessionUsage
from claude_agent_http.store.sessions import CLOSE_AT_ONCE, check_same_creation, unknown_position

T = TypeVar("T", Session, Event)


@dataclass(slots=True)
class _Entry:
    uuid: str | None
    stored_at: datetime
    text: str


@dataclass(slots=True)
class _State:
    sessions: dict[str, Session] = field(default_factory=dict)
    events: dict[str, list[Event]] = field(default_factory=dict)
    transcripts: dict[TranscriptKey, list[_Entry]] = field(default_factory=dict)
    usage: SessionUsage = field(default_factory=dict)
    sizes: dict[str, tuple[int, datetime, int]] = field(default_factory=dict)

    def check(self, lease: Lease | None) -> None:
        if lease is None:
            return
        session = self.sessions.get(lease.session_id)
        if session is None or not session.is_held_under(lease):
            raise LeaseLostError(lease.session_id)

    def size(self, session: Session) -> int:
        """Bytes of the session's events and transcripts, as they were after its last use."""
        use = (session.last_seq, session.last_active_at)
        known = self.sizes.get(session.id)
        if known is None or known[:2] != use:
            known = self.sizes[session.id] = (*use, self._measured(session.id))
        return known[2]

    def _measured(self, session_id: str) -> int:
        events = sum(len(encode(event.data)) for event in self.events.get(session_id, []))
        keys = [key for key in self.transcripts if key.session_id == session_id]
        return events + sum(len(entry.text) for key in keys for entry in self.transcripts[key])


class MemoryStore:
    """See `ports.Store`. No method waits, so each is one transaction.

    `replica` gives the store of another replica of the same process: so it is `is_shared`, in tests only."""

    def __init__(self, clock: Clock, *, is_shared: bool = False) -> None:
        state = _State()
        self.is_shared = is_shared
        self.clock = clock
        self.bus = Bus()
        self.events = MemoryEventLog(state, clock)
        self.leases = MemoryLeases(state.sessions, clock)
        self.sessions = MemorySessionStore(state, self.leases)
        self.transcripts = MemoryTranscriptStore(state, clock)
        self.api_keys = MemoryApiKeys()
        self.usage = MemoryUsageStore(state.sessions, state.usage)
        self.audit = MemoryAuditLog()
        self.wakeups = BusWakeups(self.bus)

    def replica(self) -> "MemoryStore":
        """The same data behind wake-ups of its own."""
        other = copy(self)
        other.wakeups = BusWakeups(self.bus)
        return other

    async def open(self) -> None: ...

    async def ping(self) -> None: ...

    async def scrub(self) -> bool:
        return True

    async def close(self) -> None:
        await self.wakeups.close()


class MemoryEventLog:
    def __init__(self, state: _State, clock: Clock) -> None:
        self._state = state
        self._clock = clock

    async def append(
        self,
        session_id: str,
        events: Sequence[NewEvent],
        *,
        lease: Lease | None = None,
        opens_turn: bool = False,
    ) -> list[Event]:
        if session_id not in self._state.sessions:
            raise SessionNotFoundError(session_id)
        self._state.check(lease)
        if opens_turn and self._runs_another(session_id, events):
            raise SessionBusyError
        copies = [replace(new, data=_copy(new.data)) for new in events]
        return [_copied(self._append(session_id, new)) for new in copies]

    def _runs_another(self, session_id: str, opening: Sequence[NewEvent]) -> bool:
        stored = {event.id for event in self._state.events.get(session_id, [])}
        repeated = all(new.id in stored for new in opening)
        return self._state.sessions[session_id].phase is SessionPhase.RUNNING and not repeated

    def _append(self, session_id: str, new: NewEvent) -> Event:
        log = self._state.events.setdefault(session_id, [])
        for stored in log:
            if stored.id == new.id:
                return stored
        session = self._state.sessions[session_id]
        event = Event(
            session_id, session.last_seq + 1, new.id, new.type, new.data, new.turn_id, self._clock.now()
        )
        log.append(event)
        self._state.sessions[session_id] = project(session, (event,))
        return event

    async def read(
        self, session_id: str, *, after: int = 0, limit: int = 100, types: frozenset[EventType] | None = None
    ) -> list[Event]:
        log = self._state.events.get(session_id, [])
        found = [event for event in log if event.seq > after and (types is None or event.type in types)]
        return [_copied(event) for event in found[:limit]]


class MemorySessionStore:
    def __init__(self, state: _State, leases: MemoryLeases) -> None:
        self._state = state
        self._leases = leases

    async def create(self, session: Session) -> Session:
        if stored := self._same(session):
            return _copied(stored)
        self._state.sessions[session.id] = _copied(session)
        return session

    async def find_repeat(self, session: Session) -> Session | None:
        stored = self._same(session)
        return None if stored is None else _copied(stored)

    def _same(self, session: Session) -> Session | None:
        def same_key(stored: Session) -> bool:
            key = session.idempotency_key
            return key is not None and (stored.user_id, stored.idempotency_key) == (session.user_id, key)

        by_id = [stored for stored in self._state.sessions.values() if stored.id == session.id]
        found = by_id + [stored for stored in self._state.sessions.values() if same_key(stored)]
        for stored in found:
            check_same_creation(stored, session)
        return found[0] if found else None

    async def get(self, session_id: str) -> Session:
        if session_id not in self._state.sessions:
            raise SessionNotFoundError(session_id)
        return _copied(self._state.sessions[session_id])

    async def list_ids(self, *, user_id: str | None, limit: int, after: str | None = None) -> list[str]:
        newest_first = sorted(self._state.sessions.values(), key=_age, reverse=True)
        if after is not None:
            last = self._state.sessions.get(after)
            if last is None or user_id not in (None, last.user_id):
                raise unknown_position()
            behind = _age(last)
            newest_first = [session for session in newest_first if _age(session) < behind]
        ids = [session.id for session in newest_first if user_id is None or session.user_id == user_id]
        return ids[:limit]

    async def one_a_folder(self, user_id: str, *, limit: int, after: str | None = None) -> list[Session]:
        used = [
            each for each in self._state.sessions.values() if each.user_id == user_id and each.message_count
        ]
        one = {each.cwd: each for each in sorted(used, key=lambda each: each.id, reverse=True)}
        behind = sorted(cwd for cwd in one if after is None or cwd > after)
        return [_copied(one[cwd]) for cwd in behind[:limit]]

    async def heads(self, session_ids: Collection[str]) -> dict[str, SessionHead]:
        return {
            each.id: SessionHead(
                each.id, each.last_seq, each.status, each.phase, each.lease_holder, each.lease_epoch
            )
            for session_id in session_ids
            if (each := self._state.sessions.get(session_id)) is not None
        }

    async def count(self, status: SessionStatus) -> int:
        return sum(session.status is status for session in self._state.sessions.values())

    async def set_status(self, session_id: str, status: SessionStatus, at: datetime) -> Session:
        changed = replace(await self.get(session_id), status=status, last_active_at=at)
        self._state.sessions[session_id] = changed
        return _copied(changed)

    async def close_unused(self, before: datetime) -> list[str]:
        unused = [
            each
            for each in self._state.sessions.values()
            if each.status is SessionStatus.ACTIVE
            and each.phase is SessionPhase.IDLE
            and each.last_active_at < before
        ]
        oldest = sorted(unused, key=_use)[:CLOSE_AT_ONCE]
        for session in oldest:
            self._state.sessions[session.id] = replace(session, status=SessionStatus.CLOSED)
        return sorted(session.id for session in oldest)

    async def expired(self, through: datetime) -> list[list[str]]:
        return in_parts((each.id, each.last_seq) for each in self._expired(through)[:EXPIRED_AT_ONCE])

    def _expired(self, through: datetime) -> list[Session]:
        return [session for session in reversed(self._closed()) if session.last_active_at <= through]

    async def claim_closed(
        self, session_ids: Collection[str], through: datetime, replica_id: str
    ) -> list[Session]:
        found = [session for session in self._expired(through) if session.id in session_ids]
        for session in found:
            await self._leases.claim(session.id, replica_id)
        return [await self.get(session.id) for session in found]

    async def delete_closed(self, leases: Collection[Lease], through: datetime) -> list[Session]:
        held = [each for each in map(self._state.sessions.get, _ids(leases)) if each and each.lease in leases]
        gone = [each for each in held if _is_unused(each) and each.last_active_at <= through]
        for session in gone:
            await self.delete(session.id)
        return sorted(gone, key=_use)

    async def excess(self, most_bytes: int) -> datetime | None:
        room, last = most_bytes, None
        for session in self._closed():
            room -= self._state.size(session)
            if room < 0 and last is None:
                last = session.last_active_at
        return last

    def _closed(self) -> list[Session]:
        """Those that retention may take, the last used first."""
        found = [
            each
            for each in self._state.sessions.values()
            if _is_unused(each) and not self._leases.may_run(each)
        ]
        return sorted(found, key=_use, reverse=True)

    async def delete(self, session_id: str, *, lease: Lease | None = None) -> None:
        if session_id not in self._state.sessions:
            raise SessionNotFoundError(session_id)
        self._state.check(lease)
        del self._state.sessions[session_id]
        self._leases.forget(session_id)
        self._state.events.pop(session_id, None)
        self._state.usage.pop(session_id, None)
        self._state.sizes.pop(session_id, None)
        for key in [key for key in self._state.transcripts if key.session_id == session_id]:
            del self._state.transcripts[key]


class MemoryTranscriptStore:
    def __init__(self, state: _State, clock: Clock) -> None:
        self._state = state
        self._transcripts = state.transcripts
        self._clock = clock

    async def append(
        self, key: TranscriptKey, entries: Sequence[TranscriptEntry], *, lease: Lease | None = None
    ) -> None:
        if entries:
            self._state.check(lease)
        new = [_Entry(entry_uuid(entry), self._clock.now(), encode(dict(entry))) for entry in entries]
        for entry in new:
            stored = self._transcripts.setdefault(key, [])
            if entry.uuid is None or all(entry.uuid != other.uuid for other in stored):
                stored.append(entry)

    async def rewind(self, key: TranscriptKey, uuid: str, *, lease: Lease) -> bool:
        self._state.check(lease)
        entries = self._transcripts.get(key, [])
        first = next((place for place, entry in enumerate(entries) if entry.uuid == uuid), None)
        if first is None:
            return False
        del entries[first:]
        if not entries:
            del self._transcripts[key]
        return True

    async def load(self, key: TranscriptKey) -> list[dict[str, Any]] | None:
        return [decode(entry.text) for entry in self._transcripts.get(key, [])] or None

    async def subpaths(self, project_key: str, session_id: str) -> list[str]:
        keys = self._of(project_key, session_id)
        return sorted(key.subpath for key in keys if key.subpath)

    async def sessions(self, project_key: str) -> list[tuple[str, int]]:
        main = [key for key in self._transcripts if key.project_key == project_key and not key.subpath]
        return sorted((key.session_id, self._last_append(key)) for key in main)

    def _last_append(self, key: TranscriptKey) -> int:
        return int(max(entry.stored_at for entry in self._transcripts[key]).timestamp() * 1000)

    async def delete(self, key: TranscriptKey) -> None:
        for gone in [key] if key.subpath else self._of(key.project_key, key.session_id):
            self._transcripts.pop(gone, None)

    def _of(self, project_key: str, session_id: str) -> list[TranscriptKey]:
        return [
            key for key in self._transcripts if (key.project_key, key.session_id) == (project_key, session_id)
        ]


def _ids(leases: Collection[Lease]) -> list[str]:
    return [lease.session_id for lease in leases]


def _is_unused(session: Session) -> bool:
    return session.status is SessionStatus.CLOSED and session.phase is SessionPhase.IDLE


def _use(session: Session) -> tuple[datetime, str]:
    return session.last_active_at, session.id


def _age(session: Session) -> tuple[datetime, str]:
    return session.created_at, session.id


def _copy(value: Any) -> Any:
    return decode(encode(value))


def _copied(value: T) -> T:
    """Nobody holds the store's own dicts: a change by a caller must not reach what is stored."""
    if isinstance(value, Session):
        return replace(value, metadata=_copy(value.metadata))
    return replace(value, data=_copy(value.data))
