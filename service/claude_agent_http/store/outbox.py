"""What waits to be told to the other replicas: said once where once says it all, and never without bound."""

from collections import deque
from collections.abc import Hashable

from claude_agent_http.domain.event import Delta, Withdrawn
from claude_agent_http.domain.wakeup import Appended, Wakeup

_MOST_FACTS = 10_000
_MOST_CHARACTERS = 512 * 1024
_ITEM_CHARACTERS = 256  # what an item of a stream takes beside its text
_MOST_WITHDRAWN = 1024


class Outbox:
    """Deltas keep their order and are joined where one continues the other. What is too much is dropped: the
    deltas, for the whole message follows them, and the oldest of the rest, which others find by asking."""

    def __init__(self) -> None:
        self._facts: dict[Hashable, Wakeup] = {}
        self._stream: deque[Delta | Withdrawn] = deque()
        self._characters = 0

    def __bool__(self) -> bool:
        return bool(self._facts or self._stream)

    def put(self, wakeup: Wakeup) -> None:
        match wakeup:
            case Delta():
                self._put_delta(wakeup)
            case Withdrawn():
                self._put_streamed(wakeup, _ITEM_CHARACTERS)
            case Appended(session_id, seq):
                known = self._facts.get((Appended, session_id))
                if not isinstance(known, Appended) or known.seq < seq:
                    self._put_fact((Appended, session_id), wakeup)
            case _:
                self._put_fact(wakeup, wakeup)

    def take(self) -> list[Wakeup]:
        """All of it; the streams first, so that nobody reads a whole message before its last pieces."""
        taken: list[Wakeup] = [*self._stream, *self._facts.values()]
        self._facts.clear()
        self._stream.clear()
        self._characters = 0
        return taken

    def _put_fact(self, key: Hashable, fact: Wakeup) -> None:
        if key not in self._facts and len(self._facts) >= _MOST_FACTS:
            del self._facts[next(iter(self._facts))]
        self._facts[key] = fact

    def _put_delta(self, delta: Delta) -> None:
        last = self._stream[-1] if self._stream else None
        room = _MOST_CHARACTERS - self._characters
        if isinstance(last, Delta) and _continues(last, delta) and len(delta.text) <= room:
            joined = last.text + delta.text
            self._stream[-1] = Delta(last.session_id, last.event_id, last.event_type, last.offset, joined)
            self._characters += len(delta.text)
        else:
            self._put_streamed(delta, _ITEM_CHARACTERS + len(delta.text))

    def _put_streamed(self, item: Delta | Withdrawn, characters: int) -> None:
        if self._characters + characters > _MOST_CHARACTERS:
            withdrawn = [one for one in self._stream if isinstance(one, Withdrawn)][-_MOST_WITHDRAWN:]
            self._stream = deque(withdrawn)
            self._characters = len(withdrawn) * _ITEM_CHARACTERS
        self._stream.append(item)
        self._characters += characters


def _continues(last: Delta, delta: Delta) -> bool:
    return last.event_id == delta.event_id and last.offset + len(last.text) == delta.offset
