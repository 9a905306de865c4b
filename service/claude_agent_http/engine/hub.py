"""Fan-out inside one process: who follows a session is woken by each append and each delta."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from claude_agent_http.domain.event import Delta, Event, EventType, SessionDeleted, Withdrawn

BROKEN_OFF_BY = frozenset({EventType.STATUS_IDLE, EventType.STATUS_RESCHEDULED})
"""Behind these no message is whole any more that was begun before."""
_QUEUE_LIMIT = 1024


@dataclass(frozen=True, slots=True)
class Poke:
    """The log has grown to `seq` at least, by another replica's hand: read it."""

    seq: int


Live = Event | Delta | Withdrawn | Poke


@dataclass(slots=True)
class _Partial:
    """A message while it is being written."""

    event_type: EventType
    pieces: list[str] = field(default_factory=list)
    length: int = 0


class Subscription:
    """A follower's bounded queue. One that overflows is emptied and marked `lagged`: the log has it all.

    `deleted` is why it was closed, None when the process goes away.
    """

    def __init__(self, *, deltas: bool = False) -> None:
        self.deltas = deltas
        self._items: deque[Live] = deque()
        self._woken = asyncio.Event()
        self.lagged = False
        self.closed = False
        self.deleted: SessionDeleted | None = None

    def put(self, item: Live) -> None:
        if len(self._items) >= _QUEUE_LIMIT:
            # No log tells what was withdrawn.
            withdrawn = [one for one in self._items if isinstance(one, Withdrawn)]
            self._items = deque(withdrawn[-_QUEUE_LIMIT // 2 :])
            self.lagged = True
        self._items.append(item)
        self._woken.set()

    def close(self, deleted: SessionDeleted | None = None) -> None:
        self.closed, self.deleted = True, deleted
        self._woken.set()

    async def take(self) -> list[Live]:
        """Everything that has come in since the last call; waits for something, empty only when closed."""
        while not self._items and not self.closed:
            self._woken.clear()
            await self._woken.wait()
        items = list(self._items)
        self._items.clear()
        return items


class Hub:
    """Knows only followers of this process; the log stays the truth."""

    def __init__(self) -> None:
        self._subscriptions: defaultdict[str, set[Subscription]] = defaultdict(set)
        self._partials: defaultdict[str, dict[str, _Partial]] = defaultdict(dict)
        self._heads: dict[str, int] = {}
        self._closed = False
        self.ends = 0
        """How many sessions have ended here so far."""

    @contextmanager
    def subscribe(self, session_id: str, *, deltas: bool = False) -> Iterator[Subscription]:
        subscription = Subscription(deltas=deltas)
        if self._closed:
            subscription.close()
        self._subscriptions[session_id].add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions[session_id].discard(subscription)
            if not self._subscriptions[session_id]:
                del self._subscriptions[session_id]

    def publish(self, session_id: str, events: Sequence[Event], *, is_head: bool = True) -> None:
        """`is_head` False when they may have come too late to be the newest of a session that still is."""
        for event in events:
            self._conclude(session_id, event)
            self._put(session_id, event)
        if not is_head:
            self._heads.pop(session_id, None)

    def publish_delta(self, delta: Delta) -> None:
        partial = self._partials[delta.session_id].setdefault(delta.event_id, _Partial(delta.event_type))
        partial.pieces.append(delta.text)
        partial.length += len(delta.text)
        self._put(delta.session_id, delta)

    def withdraw(self, withdrawn: Withdrawn) -> None:
        self._partials.get(withdrawn.session_id, {}).pop(withdrawn.event_id, None)
        self._put(withdrawn.session_id, withdrawn)

    def pass_on(self, item: Delta | Withdrawn | Event | Poke, session_id: str) -> None:
        """What another replica's session says, to whoever follows it here; nothing of it is kept."""
        if isinstance(item, Event | Poke) and item.seq > self._heads.get(session_id, item.seq):
            del self._heads[session_id]  # The log has grown by another hand: only it can tell.
        self._put(session_id, item)

    def wants_deltas(self, session_id: str) -> bool:
        return any(subscription.deltas for subscription in self._subscriptions.get(session_id, ()))

    def is_followed(self, session_id: str) -> bool:
        return session_id in self._subscriptions

    def followed(self) -> list[str]:
        """The sessions that somebody follows here."""
        return list(self._subscriptions)

    def partials(self, session_id: str) -> list[Delta]:
        """The text so far of every message being written, each as one delta from offset 0."""
        return [
            Delta(session_id, event_id, partial.event_type, 0, "".join(partial.pieces))
            for event_id, partial in self._partials.get(session_id, {}).items()
        ]

    def head(self, session_id: str) -> int | None:
        """The newest seq that this process gave a session whose turn it runs; None: only the log can tell."""
        return self._heads.get(session_id)

    def give_up(self, session_id: str) -> None:
        """Another replica runs the session now: only the log tells its head, and what was begun is void."""
        self.ends += 1
        for event_id in list(self._partials.get(session_id, {})):
            self.withdraw(Withdrawn(session_id, event_id))
        self._partials.pop(session_id, None)
        self._heads.pop(session_id, None)

    def end(self, deleted: SessionDeleted) -> None:
        """End the streams of a session that is gone."""
        self.ends += 1
        self._close(deleted.session_id, deleted)

    def close(self) -> None:
        """End every stream: the process is going away."""
        self._closed = True
        for session_id in list(self._subscriptions):
            self._close(session_id)

    def _conclude(self, session_id: str, event: Event) -> None:
        """A whole event replaces its deltas; after a turn's end nothing more comes of what was begun."""
        partials = self._partials.get(session_id, {})
        partials.pop(event.id, None)
        self._heads[session_id] = max(event.seq, self._heads.get(session_id, 0))
        if event.type in BROKEN_OFF_BY:
            for event_id in list(partials):
                self.withdraw(Withdrawn(session_id, event_id))
            self._partials.pop(session_id, None)
        if event.type is EventType.STATUS_IDLE:
            self._heads.pop(session_id, None)

    def _put(self, session_id: str, item: Live) -> None:
        for subscription in self._subscriptions.get(session_id, ()):
            subscription.put(item)

    def _close(self, session_id: str, deleted: SessionDeleted | None = None) -> None:
        self._partials.pop(session_id, None)
        self._heads.pop(session_id, None)
        for subscription in self._subscriptions.get(session_id, ()):
            subscription.close(deleted)
