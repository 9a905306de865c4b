"""Wake-ups as the payloads of NOTIFY: JSON, many in one, none longer than Postgres takes."""

import json
import re
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any

from claude_agent_http.domain.event import Delta, EventType, Withdrawn
from claude_agent_http.domain.wakeup import Appended, Changed, Missed, PeersChanged, Wakeup, Wanted

_LONGEST = 7900  # bytes; Postgres refuses 8,000
_EVENT_TYPES = frozenset(kind.value for kind in EventType)

# Between two surrogates of which JSON would make one character.
_PAIRS = re.compile("(?<=[\ud800-\udbff])(?=[\udc00-\udfff])")


class _Kind(StrEnum):
    APPENDED = "a"
    CHANGED = "c"
    WANTED = "w"
    PEERS_CHANGED = "p"
    DELTA = "d"
    WITHDRAWN = "x"


def pack(sender: str, wakeups: Iterable[Wakeup]) -> list[str]:
    """As few payloads as hold them, in order; long deltas come in several pieces. What fits in none (no id of
    ours is that long) is left out. `sender` tells a replica its own words."""
    room = _LONGEST - len(json.dumps(sender)) - len("[,]")
    payloads: list[str] = []
    items: list[str] = []
    length = 0
    for item in _fitting(wakeups, room):
        if length + len(item) + 1 > room:
            payloads.append(_payload(sender, items))
            items, length = [], 0
        items.append(item)
        length += len(item) + 1
    return [*payloads, _payload(sender, items)] if items else payloads


def unpack(payload: str) -> tuple[str, list[Wakeup]]:
    """(sender, wake-ups). What a newer version says and this one does not know is left out.

    Raises ValueError for what no replica sends.
    """
    try:
        message = json.loads(payload)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    match message:
        case [str(sender), *items]:
            return sender, [wakeup for item in items if (wakeup := _from_item(item)) is not None]
        case _:
            raise ValueError("no sender")


def _payload(sender: str, items: list[str]) -> str:
    return f"[{json.dumps(sender)},{','.join(items)}]"


def _fitting(wakeups: Iterable[Wakeup], room: int) -> Iterator[str]:
    for wakeup in wakeups:
        text = json.dumps(_to_item(wakeup), separators=(",", ":"))
        if isinstance(wakeup, Delta) and len(parts := _PAIRS.split(wakeup.text)) > 1:
            yield from _fitting(_pieces(wakeup, parts), room)
        elif len(text) < room:
            yield text
        elif isinstance(wakeup, Delta) and len(wakeup.text) > 1:
            middle = len(wakeup.text) // 2
            yield from _fitting(_pieces(wakeup, [wakeup.text[:middle], wakeup.text[middle:]]), room)


def _pieces(delta: Delta, texts: Iterable[str]) -> Iterator[Delta]:
    """The same in several; `offset` counts characters."""
    offset = delta.offset
    for text in texts:
        yield Delta(delta.session_id, delta.event_id, delta.event_type, offset, text)
        offset += len(text)


def _to_item(wakeup: Wakeup) -> list[Any]:
    match wakeup:
        case Appended(session_id, seq):
            return [_Kind.APPENDED, session_id, seq]
        case Changed(session_id):
            return [_Kind.CHANGED, session_id]
        case Wanted(session_id):
            return [_Kind.WANTED, session_id]
        case Delta(session_id, event_id, event_type, offset, text):
            return [_Kind.DELTA, session_id, event_id, event_type, offset, text]
        case Withdrawn(session_id, event_id):
            return [_Kind.WITHDRAWN, session_id, event_id]
        case PeersChanged() | Missed():
            return [_Kind.PEERS_CHANGED]


def _from_item(item: Any) -> Wakeup | None:
    return _fact(item) or _streamed(item)


def _fact(item: Any) -> Wakeup | None:
    match item:
        case [_Kind.APPENDED, str(session_id), int(seq)]:
            return Appended(session_id, seq)
        case [_Kind.CHANGED, str(session_id)]:
            return Changed(session_id)
        case [_Kind.WANTED, str(session_id)]:
            return Wanted(session_id)
        case [_Kind.PEERS_CHANGED]:
            return PeersChanged()
        case _:
            return None


def _streamed(item: Any) -> Delta | Withdrawn | None:
    match item:
        case [_Kind.DELTA, str(session_id), str(event_id), str(kind), int(offset), str(text)]:
            known = kind in _EVENT_TYPES
            return Delta(session_id, event_id, EventType(kind), offset, text) if known else None
        case [_Kind.WITHDRAWN, str(session_id), str(event_id)]:
            return Withdrawn(session_id, event_id)
        case _:
            return None
