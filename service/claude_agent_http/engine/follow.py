"""Reading a session from any point: what was missed from the log, then live, without gap or repeat."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from claude_agent_http.domain.event import Delta, Event, Followed, Withdrawn
from claude_agent_http.engine.hub import BROKEN_OFF_BY, Hub, Live, Poke, Subscription
from claude_agent_http.ports import EventLog

_PAGE = 500
_REMEMBERED = 1024


class Follower:
    """One reader's cursor over one session."""

    def __init__(self, log: EventLog, hub: Hub, session_id: str, *, after: int, deltas: bool) -> None:
        self._log = log
        self._hub = hub
        self._session_id = session_id
        self._cursor = after
        self._deltas = deltas
        self._shown: dict[str, int] = {}
        self._whole: dict[str, None] = {}

    async def items(self, subscription: Subscription) -> AsyncGenerator[Followed]:
        """Events after the cursor in order, each once, and deltas of unfinished messages if asked for.

        Ends when the process shuts down, after the last stored event, or with SessionDeleted.
        """
        while not subscription.closed:
            async for missed in self._missed():
                yield missed
            for delta in self._partials():
                yield delta
            async for item in self._live(subscription):
                yield item
        if subscription.deleted is not None:
            yield subscription.deleted
            return
        async for missed in self._missed():
            yield missed

    async def _missed(self) -> AsyncIterator[Event | Withdrawn]:
        if self._hub.head(self._session_id) == self._cursor:
            return
        while page := await self._log.read(self._session_id, after=self._cursor, limit=_PAGE):
            for event in page:
                self._remember(event)
                for item in self._advance(event):
                    yield item
            if len(page) < _PAGE:
                return

    def _partials(self) -> list[Delta]:
        if not self._deltas:
            return []
        return [new for delta in self._hub.partials(self._session_id) if (new := self._unseen(delta))]

    async def _live(self, subscription: Subscription) -> AsyncIterator[Event | Delta | Withdrawn]:
        """Until the queue was lost or skips a seq: then the log is read again."""
        while items := await subscription.take():
            skipped = subscription.lagged
            for item in items:
                skipped = skipped or self._skips(item)
                for one in self._shown_of(item, skipped=skipped):
                    yield one
            if skipped or subscription.lagged:  # It may have overflowed meanwhile.
                subscription.lagged = False
                return

    def _skips(self, item: Live) -> bool:
        """Whether the log has more before this, or has grown behind our back."""
        match item:
            case Event(seq=seq):
                return seq > self._cursor + 1
            case Poke(seq=seq):
                return seq > self._cursor
            case _:
                return False

    def _shown_of(self, item: Live, *, skipped: bool) -> Sequence[Event | Delta | Withdrawn]:
        match item:
            case Withdrawn(event_id=event_id) if self._shown.pop(event_id, None) is not None:
                return [item]
            case Event(seq=seq) if seq == self._cursor + 1:
                if self._deltas:
                    self._remember(item)
                return self._advance(item)
            case Delta() if self._deltas and not skipped and (new := self._unseen(item)):
                return [new]
            case _:
                return []

    def _advance(self, event: Event) -> list[Event | Withdrawn]:
        """The event, behind the end of what was begun and will not come."""
        self._cursor = event.seq
        self._shown.pop(event.id, None)
        if event.type not in BROKEN_OFF_BY:
            return [event]
        broken = [Withdrawn(self._session_id, event_id) for event_id in self._shown]
        self._shown.clear()
        return [*broken, event]

    def _remember(self, event: Event) -> None:
        """That it was seen whole: deltas of it may still be in the queue, in the hub, or on their way."""
        self._whole[event.id] = None
        if len(self._whole) > _REMEMBERED:
            del self._whole[next(iter(self._whole))]

    def _unseen(self, delta: Delta) -> Delta | None:
        """The part of a delta that this reader has not had; None when there is none or a piece is missing."""
        if delta.event_id in self._whole:
            return None
        shown = self._shown.get(delta.event_id, 0)
        if delta.offset > shown or delta.offset + len(delta.text) <= shown:
            return None
        self._shown[delta.event_id] = delta.offset + len(delta.text)
        return Delta(
            delta.session_id, delta.event_id, delta.event_type, shown, delta.text[shown - delta.offset :]
        )
