"""What a start does for turns that the last process left unfinished."""

from claude_agent_http.domain.event import Event, EventType
from claude_agent_http.domain.session import Session
from claude_agent_http.domain.turn import ErrorKind, StopReason, TurnEnd, TurnError
from claude_agent_http.engine.closing import closing_events
from claude_agent_http.engine.journal import Journal
from claude_agent_http.engine.model_requests import ModelRequests
from claude_agent_http.ports import EventLog, Ids, SessionStore

_CUT_SHORT = TurnEnd(
    StopReason.RETRIES_EXHAUSTED,
    error=TurnError(
        ErrorKind.SERVICE_RESTARTED, "the service ended during this turn; send the message again"
    ),
    interrupted="restart",
)


async def end_cut_turns(sessions: SessionStore, log: EventLog, journal: Journal, ids: Ids) -> int:
    """Close every turn that no process runs any more, with events that say so. Returns how many."""
    cut = await sessions.running()
    for session in cut:
        running = await _last_running(log, session)
        requests = await _requests_after(log, session, running.seq if running else 0)
        turn_id, end = running.turn_id if running else None, requests.completed(_CUT_SHORT)
        await journal.append(session.id, closing_events(ids, turn_id, end, requests.open))
    return len(cut)


async def _last_running(log: EventLog, session: Session) -> Event | None:
    """A turn's `session.status_running` names it and is in its first few events; look back from the end."""
    last: Event | None = None
    after = max(0, session.last_seq - _LOOK_BACK)
    while last is None:
        for event in await log.read(session.id, after=after, limit=_LOOK_BACK, types=_RUNNING):
            last = event
        if after == 0:
            break
        after = max(0, after - _LOOK_BACK)
    return last


async def _requests_after(log: EventLog, session: Session, after: int) -> ModelRequests:
    requests = ModelRequests()
    while page := await log.read(session.id, after=after, limit=_LOOK_BACK, types=ModelRequests.TYPES):
        for event in page:
            requests.see(event)
        after = page[-1].seq
    return requests


_LOOK_BACK = 500
_RUNNING = frozenset({EventType.STATUS_RUNNING})
