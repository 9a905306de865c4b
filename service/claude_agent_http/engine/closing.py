"""The end of a turn, and its events in the order of the Managed Agents API."""

from collections.abc import Iterable

from claude_agent_http.domain import vocabulary
from claude_agent_http.domain.errors import ClaudeAgentError, StorageFullError
from claude_agent_http.domain.event import NewEvent
from claude_agent_http.domain.turn import ErrorKind, TurnEnd, Usage
from claude_agent_http.ports import Ids


def closing_events(
    ids: Ids, turn_id: str | None, end: TurnEnd, open_requests: Iterable[str] = ()
) -> list[NewEvent]:
    """`open_requests` are those to the model that were under way when the turn ended."""
    events = [] if turn_id is None else ended_requests(ids, turn_id, open_requests)
    if end.error is not None:
        events.append(vocabulary.session_error(ids.event_id(), turn_id, end.error))
    if end.usage is not None and turn_id is not None:
        events.append(vocabulary.session_usage(ids.event_id(), turn_id, end.usage))
    events.append(vocabulary.status_idle(ids.event_id(), turn_id, end.stop_reason, end.interrupted))
    return events


def ended_requests(ids: Ids, turn_id: str, open_requests: Iterable[str]) -> list[NewEvent]:
    """Requests of which nobody will tell the end any more."""
    return [
        vocabulary.model_request_end(ids.event_id(), turn_id, start, Usage(), is_error=True)
        for start in open_requests
    ]


def not_stored(error: ClaudeAgentError) -> TurnEnd:
    """The end of a turn whose events the log could not take."""
    full = isinstance(error, StorageFullError)
    return TurnEnd.failed(ErrorKind.STORAGE_FULL if full else ErrorKind.STORAGE_FAILED, str(error))
