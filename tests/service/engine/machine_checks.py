"""What one session's log promises, whatever happened to it."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from claude_agent_http.domain.event import Event, EventType
from claude_agent_http.domain.turn import TurnEnd

_MARKS = (EventType.STATUS_RUNNING, EventType.STATUS_IDLE)


def check_log(log: Sequence[Event]) -> None:
    assert [event.seq for event in log] == list(range(1, len(log) + 1))
    assert len({event.id for event in log}) == len(log)
    _check_marks(log)
    _check_places(log)
    _check_tools(log)
    _check_requests(log)


def check_end(log: Sequence[Event], turn_id: str, end: TurnEnd) -> None:
    """The turn's one end in the log is the one that its sender was told."""
    [idle] = [event for event in log if event.turn_id == turn_id and event.type is EventType.STATUS_IDLE]
    errors = [
        event.data["error"]["type"]
        for event in log
        if event.turn_id == turn_id
        and event.type is EventType.SESSION_ERROR
        and event.data["error"]["retry_status"]["type"] == "exhausted"
    ]
    told = {"type": end.stop_reason.value} | ({"interrupted": end.interrupted} if end.interrupted else {})
    if end.error is None:
        assert (idle.data["stop_reason"], errors) == (told, [])
    elif "storage" not in end.error.kind:  # else it is told what the log could not be
        assert (idle.data["stop_reason"], errors) == (told, [end.error.kind.value])


def _check_marks(log: Sequence[Event]) -> None:
    """Turns do not overlap; each begins once with its message, and ends at most once."""
    log = _without_reruns(log)
    marks = [event for event in log if event.type in _MARKS]
    assert [mark.type for mark in marks] == [_MARKS[number % 2] for number in range(len(marks))]
    for running, idle in zip(marks[::2], marks[1::2], strict=False):
        assert running.turn_id == idle.turn_id
    runs = Counter(mark.turn_id for mark in marks[::2])
    assert set(runs.values()) <= {1}
    messages = [event.id for event in log if event.type is EventType.USER_MESSAGE]
    assert messages == list(runs)
    for message, running in pairwise(log):
        assert message.type is not EventType.USER_MESSAGE or running.type is EventType.STATUS_RUNNING


def _without_reruns(log: Sequence[Event]) -> list[Event]:
    """Only a turn in which no tool has started is run again, and it says so first."""
    kept, started = list[Event](), set[str]()
    for before, event in zip([None, *log], log, strict=False):
        if event.type is EventType.USER_MESSAGE:
            started.clear()
        _see_start(event, started)
        assert event.type is not EventType.STATUS_RESCHEDULED or not started
        if before is not None and before.type is EventType.STATUS_RESCHEDULED:
            assert (event.type, event.turn_id) == (EventType.STATUS_RUNNING, before.turn_id)
        else:
            kept.append(event)
    return kept


def _check_places(log: Sequence[Event]) -> None:
    """What belongs to a turn stands between its beginning and its end."""
    turn: str | None = None
    for event in log:
        if event.type is EventType.USER_MESSAGE:
            turn = event.id
        assert event.turn_id == turn, f"{event.type} outside its turn"
        if event.type is EventType.STATUS_IDLE:
            turn = None


def _check_tools(log: Sequence[Event]) -> None:
    """No tool ran before its start was stored."""
    started = set[str]()
    for event in log:
        _see_start(event, started)
        if event.type is EventType.AGENT_TOOL_RESULT and not event.data["is_error"]:
            assert event.data["tool_use_id"] in started


def _see_start(event: Event, started: set[str]) -> None:
    """A tool that is asked for has not started, whatever was said before."""
    if event.type is EventType.AGENT_TOOL_STARTED:
        started.add(event.data["tool_use_id"])
    if event.type is EventType.TOOL_APPROVAL_REQUESTED:
        started.discard(event.data["tool_use_id"])


def _check_requests(log: Sequence[Event]) -> None:
    """Each request to the model has ended once by the end of its turn, whose usage counts it."""
    open_requests, counted = set[str](), 0
    for event in log:
        match event.type:
            case EventType.MODEL_REQUEST_START:
                open_requests.add(event.id)
            case EventType.MODEL_REQUEST_END:
                open_requests.remove(event.data["model_request_start_id"])
                counted += event.data["model_usage"]["input_tokens"]
            case EventType.SESSION_USAGE:
                assert event.data["usage"]["input_tokens"] >= counted
                counted = 0
            case EventType.STATUS_IDLE:
                assert (open_requests, counted) == (set(), 0)
