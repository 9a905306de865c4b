"""Fan-out inside one process: who follows a session is woken by each append and each delta."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from claude_agent_http.domain.event import Delta, Event, EventType

_QUEUE_LIMIT = 1024


@dataclass(slots=True)
class _Partial:
    """A message while it is being written."""

    event_type: EventType
    pieces: list[str] = field(default_factory=list)
    length: int = 0


class Subscription:
    """A follower's bounded queue. One that overflows is emptied and marked `lagged`: the log has it all."""

    def __init__(self) -> None:
        self._items: deque[Event | Delta] = deque()
        self._woken = asyncio.Event()
        self.lagged = False
        self.closed = False

    def put(self, item: Event | Delta) -> None:
        if len(self._items) >= _QUEUE_LIMIT:
            self._items.clear()
            self.lagged = True
        self._items.append(item)
        self._woken.set()

    def close(self) -> None:
        self.closed = True
        self._woken.set()

    async def take(self) -> list[Event | Delta]:
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
        self._closed = False

    @contextmanager
    def subscribe(self, session_id: str) -> Iterator[Subscription]:
        subscription = Subscription()
        if self._closed:
            subscription.close()
        self._subscriptions[session_id].add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions[session_id].discard(subscription)
            if not self._subscriptions[session_id]:
                del self._subscriptions[session_id]

    def publish(self, session_id: str, events: Sequence[Event]) -> None:
        partials = self._partials.get(session_id, {})
        for event in events:
            partials.pop(event.id, None)
            if event.type is EventType.STATUS_IDLE:
                self._partials.pop(session_id, None)
            for subscription in self._subscriptions.get(session_id, ()):
                subscription.put(event)

    def publish_delta(self, delta: Delta) -> None:
        partial = self._partials[delta.session_id].setdefault(delta.event_id, _Partial(delta.event_type))
        partial.pieces.append(delta.text)
        partial.length += len(delta.text)
        for subscription in self._subscriptions.get(delta.session_id, ()):
            subscription.put(delta)

    def partials(self, session_id: str) -> list[Delta]:
        """The text so far of every message being written, each as one delta from offset 0."""
        return [
            Delta(session_id, event_id, partial.event_type, 0, "".join(partial.pieces))
            for event_id, partial in self._partials.get(session_id, {}).items()
        ]

    def end(self, session_id: str) -> None:
        """End the streams of a session that is gone."""
        self._partials.pop(session_id, None)
        for subscription in self._subscriptions.get(session_id, ()):
            subscription.close()

    def close(self) -> None:
        """End every stream: the process is going away."""
        self._closed = True
        for session_id in list(self._subscriptions):
            self.end(session_id)
