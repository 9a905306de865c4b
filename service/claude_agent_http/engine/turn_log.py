"""Turns as the event log tells of them, for whoever does not run them."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from claude_agent_http.domain.approval import Approval
from claude_agent_http.domain.event import Event, EventType
from claude_agent_http.domain.turn import ErrorKind, StopReason, TurnEnd, TurnError, Usage
from claude_agent_http.domain.vocabulary import approval_of, text_of, usage_of
from claude_agent_http.engine.model_requests import ModelRequests
from claude_agent_http.ports import EventLog

_WINDOW = 500
_TELLING = frozenset(
    {
        EventType.USER_MESSAGE,
        EventType.USER_INTERRUPT,
        EventType.STATUS_RUNNING,
        EventType.STATUS_RESCHEDULED,
        EventType.STATUS_IDLE,
        EventType.AGENT_TOOL_STARTED,
        EventType.TOOL_APPROVAL_REQUESTED,
        EventType.USER_TOOL_CONFIRMATION,
        EventType.AGENT_MESSAGE,
        *ModelRequests.TYPES,
    }
)
_BEGUN = frozenset({*ModelRequests.TYPES, EventType.AGENT_MESSAGE})
_STATUSES = frozenset({EventType.STATUS_RUNNING, EventType.STATUS_IDLE})


@dataclass(slots=True)
class UnfinishedTurn:
    """A turn that has begun and not ended. `message` is its `user.message`, None when the log lacks it;
    `interrupt` the reason of an interrupt that stands in it, `approvals` those that nobody has decided."""

    id: str
    message: Event | None = None
    runs: int = 0
    has_begun: bool = False
    interrupt: str | None = None
    requests: ModelRequests = field(default_factory=ModelRequests)
    approvals: dict[str, Approval] = field(default_factory=dict)
    _started: set[str] = field(default_factory=set)

    @property
    def tool_started(self) -> bool:
        """Whether a tool may have run. One that had to be asked for has not, until it was said once more."""
        return bool(self._started)

    @property
    def prompt(self) -> str:
        return "" if self.message is None else text_of(self.message.data)

    def see(self, event: Event) -> None:
        match event.type:
            case EventType.USER_MESSAGE:
                self.message = event
            case EventType.STATUS_RUNNING:
                self.runs += 1
            case EventType.USER_INTERRUPT:
                self.interrupt = event.data["reason"]
            case EventType.AGENT_TOOL_STARTED:
                self._started.add(event.data["tool_use_id"])
            case EventType.TOOL_APPROVAL_REQUESTED:
                self._started.discard(event.data["tool_use_id"])
                self.approvals[event.id] = approval_of(event)
            case EventType.USER_TOOL_CONFIRMATION:
                self.approvals.pop(event.data["approval_id"], None)
            case EventType.STATUS_RESCHEDULED:
                self.approvals.clear()
        self.has_begun |= event.type in _BEGUN
        self.requests.see(event)


async def unfinished_turn(log: EventLog, session_id: str, last_seq: int) -> UnfinishedTurn | None:
    """The turn that the log ends in; None when it does not end in one. `last_seq` may be somewhat old."""
    start, telling, turn = last_seq, list[Event](), None
    while start > 0 and (turn is None or turn.message is None):
        start = max(0, start - _WINDOW)
        window = await log.read(session_id, after=start, limit=2 * _WINDOW, types=_TELLING)
        telling = [event for event in window if not telling or event.seq < telling[0].seq] + telling
        statuses = [event for event in telling if event.type in _STATUSES]
        if statuses and statuses[-1].type is EventType.STATUS_IDLE:
            return None
        if statuses and statuses[-1].turn_id is not None:
            turn = _told(statuses[-1].turn_id, telling)
    return turn


async def events_behind(
    log: EventLog, session_id: str, after: int, *, types: frozenset[EventType] | None = None
) -> list[Event]:
    """All of them, however many reads that takes."""
    events: list[Event] = []
    while True:
        page = await log.read(session_id, after=after, limit=_WINDOW, types=types)
        events += page
        if len(page) < _WINDOW:
            return events
        after = page[-1].seq


def _told(turn_id: str, events: Iterable[Event]) -> UnfinishedTurn:
    turn = UnfinishedTurn(turn_id)
    for event in events:
        if event.turn_id == turn_id:
            turn.see(event)
    return turn


def ending(events: Iterable[Event]) -> TurnEnd:
    """The end that a turn's closing events tell of; the inverse of `closing.closing_events`."""
    end = TurnEnd(StopReason.END_TURN)
    usage: Usage | None = None
    error: TurnError | None = None
    for event in events:
        match event.type:
            case EventType.STATUS_RESCHEDULED:
                error = None
            case EventType.SESSION_USAGE:
                usage = usage_of(event.data["usage"])
            case EventType.SESSION_ERROR:
                told = event.data["error"]
                error = TurnError(_kind(told["type"]), told["message"])
            case EventType.STATUS_IDLE:
                reason = event.data["stop_reason"]
                end = TurnEnd(_stop_reason(reason["type"]), interrupted=reason.get("interrupted"))
    return TurnEnd(end.stop_reason, usage, error, end.interrupted)


def _kind(told: str) -> ErrorKind:
    """A newer version may tell of errors that this one does not know."""
    return ErrorKind(told) if told in set(ErrorKind) else ErrorKind.INTERNAL


def _stop_reason(told: str) -> StopReason:
    """Likewise; what went wrong, an error tells."""
    return StopReason(told) if told in set(StopReason) else StopReason.END_TURN
