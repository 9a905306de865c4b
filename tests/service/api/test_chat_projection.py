"""What a client of `/chat/stream` has read at the end of a turn that was run again."""

from datetime import UTC, datetime

import pytest

from claude_agent_http.api.chat_projection import ChatProjection
from claude_agent_http.domain import vocabulary
from claude_agent_http.domain.event import Delta, Event, EventType, Followed, NewEvent, Withdrawn
from claude_agent_http.engine import answer

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def event(new: NewEvent) -> Event:
    return Event("s", 1, new.id, new.type, new.data, new.turn_id, NOW)


def said(event_id: str, text: str) -> Event:
    return event(vocabulary.agent_message(event_id, "t", text))


def piece(event_id: str, text: str, offset: int = 0) -> Delta:
    return Delta("s", event_id, EventType.AGENT_MESSAGE, offset, text)


TOOL = event(vocabulary.agent_tool_use("u", "t", "use", "Bash", {}))
AGAIN = event(vocabulary.status_rescheduled("r", "t"))


@pytest.mark.parametrize(
    ("items", "read"),
    [
        ([said("1", "one"), AGAIN, said("2", "one"), said("3", "two")], "one\n\ntwo"),
        ([said("1", "one"), said("2", "two"), AGAIN, said("3", "one"), said("4", "two")], "one\n\ntwo"),
        ([said("1", "one"), piece("2", "tw"), AGAIN, said("3", "one"), said("4", "two")], "one\n\ntwo"),
        ([said("1", "one"), said("2", "two"), AGAIN, said("3", "three")], "one\n\ntwo\n\nthree"),
        ([said("1", "one"), piece("2", "t"), Withdrawn("s", "2"), said("3", "two")], "one\n\ntwo"),
        (
            [said("1", "one"), piece("2", "t"), Withdrawn("s", "2"), TOOL, said("3", "more")],
            "one\n\nt\n\nmore",
        ),
        ([piece("1", "o"), Withdrawn("s", "1"), TOOL, said("2", "more")], "o\n\nmore"),
        ([said("1", "one"), said("2", "one")], "one\n\none"),
        ([said("1", "one"), said("2", ""), TOOL, piece("3", "tw"), said("3", "two")], "one\n\ntwo"),
        ([piece("1", "on"), AGAIN, piece("2", "o"), piece("2", "ne t", 1), said("2", "one two")], "one two"),
        ([said("1", "one"), AGAIN, said("2", "another")], "one\n\nanother"),
        ([AGAIN, said("1", "one")], "one"),
    ],
)
def test_what_was_read_before_is_not_read_twice(items: list[Followed], read: str) -> None:
    projection = ChatProjection()
    chunks = [chunk for item in items for chunk in projection.chunks(item)]
    assert "".join(chunk.get("text") or "" for chunk in map(dict, chunks)) == read


def test_the_answer_is_that_of_the_last_run() -> None:
    whole = answer([said("1", "one"), TOOL, AGAIN, said("2", "two")], NOW)
    assert (whole.text, whole.tool_calls) == ("two", ())
