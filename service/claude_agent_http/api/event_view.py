"""Events and deltas as the JSON that clients read."""

from datetime import datetime
from typing import Any

from claude_agent_http.domain.event import Delta, Event, EventType, SessionDeleted, Withdrawn

__all__ = [
    "deleted_json",
    "delta_json",
    "event_json",
    "start_json",
    "withdrawn_json",
]


def event_json(event: Event) -> dict[str, Any]:
    """The envelope, with the fields of the event's type beside it."""
    envelope = {
        "seq": event.seq,
        "id": event.id,
        "type": event.type.value,
        "session_id": event.session_id,
        "turn_id": event.turn_id,
        "processed_at": _time(event.processed_at),
    }
    return envelope | event.data | envelope


def start_json(delta: Delta) -> dict[str, Any]:
    """Says that an event is being written, before its first delta."""
    return {"type": "event_start", "event": {"id": delta.event_id, "type": delta.event_type.value}}


def delta_json(delta: Delta) -> dict[str, Any] | None:
    """A piece of a message; `offset` counts the characters before it. Of thinking only the start is shown."""
    if delta.event_type is not EventType.AGENT_MESSAGE:
        return None
    piece = {"type": "content_delta", "index": 0, "content": {"type": "text", "text": delta.text}}
    return {"type": "event_delta", "event_id": delta.event_id, "offset": delta.offset, "delta": piece}


def withdrawn_json(withdrawn: Withdrawn) -> dict[str, Any]:
    """Says that an event which was being written will not come."""
    return {"type": "event_withdrawn", "event_id": withdrawn.event_id}


def deleted_json(deleted: SessionDeleted) -> dict[str, Any]:
    """The last message of a session's streams. It has no seq: no log holds it."""
    return {
        "id": deleted.event_id,
        "type": EventType.SESSION_DELETED.value,
        "session_id": deleted.session_id,
        "turn_id": None,
        "processed_at": _time(deleted.processed_at),
    }


def _time(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
