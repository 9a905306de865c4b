"""docs/events.md has every event type, and its examples have the fields that the service sends."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.docs.markdown import DOCS, Block, blocks

from claude_agent_http.api.event_view import (
    deleted_json,
    delta_json,
    event_json,
    start_json,
    withdrawn_json,
)
from claude_agent_http.domain import vocabulary
from claude_agent_http.domain.approval import AskedTool, Decision
from claude_agent_http.domain.event import Delta, Event, EventType, NewEvent, SessionDeleted, Withdrawn
from claude_agent_http.domain.turn import ErrorKind, StopReason, TurnError, Usage

PAGE = DOCS / "events.md"
TEXT = PAGE.read_text(encoding="utf-8")
HEADINGS = re.findall(r"^### (.+)$", TEXT, re.M)
EXAMPLES = [block for block in blocks(PAGE) if block.language == "json"]
ONE, TURN = "sevt_1", "sevt_0"
SOME = vocabulary.text_content("x")
BUILT = (
    vocabulary.user_message(ONE, "x", 120),
    vocabulary.user_interrupt(ONE, TURN, "user"),
    vocabulary.status_running(ONE, TURN),
    vocabulary.status_rescheduled(ONE, TURN),
    vocabulary.status_idle(ONE, TURN, StopReason.END_TURN, "user"),
    vocabulary.session_error(ONE, TURN, TurnError(ErrorKind.MAX_TURNS, "x")),
    vocabulary.session_usage(ONE, TURN, Usage()),
    vocabulary.agent_message(ONE, TURN, "x"),
    vocabulary.agent_thinking(ONE, TURN, "x"),
    vocabulary.agent_tool_use(ONE, TURN, "t", "Bash", {}),
    vocabulary.agent_tool_use(ONE, TURN, "t", "mcp__echo__say", {}),
    vocabulary.agent_tool_started(ONE, TURN, "t", "Bash"),
    vocabulary.tool_approval_requested(ONE, TURN, AskedTool("t", "Read", {}, "why"), datetime.now(UTC)),
    vocabulary.tool_confirmation(ONE, TURN, "t", Decision.DENY, "x"),
    vocabulary.agent_tool_result(ONE, TURN, "t", SOME, is_error=False),
    vocabulary.agent_tool_result(ONE, TURN, "t", SOME, is_error=False, mcp=True),
    vocabulary.context_compacted(ONE, TURN),
    vocabulary.model_request_start(ONE, TURN, "m"),
    vocabulary.model_request_end(ONE, TURN, ONE, Usage(), is_error=False),
)
DELTA = Delta("s", ONE, EventType.AGENT_MESSAGE, 0, "x")
# What a tool takes is the tool's own affair.
OPAQUE = {"input"}


def as_sent(new: NewEvent) -> dict[str, Any]:
    return event_json(Event("s", 1, new.id, new.type, new.data, new.turn_id, datetime.now(UTC)))


SENT = {event["type"]: event for event in map(as_sent, BUILT)}
ENVELOPE = set(as_sent(vocabulary.status_running(ONE, TURN))) - {"type"}
UNSTORED = {
    "event_start": start_json(DELTA),
    "event_delta": delta_json(DELTA),
    "event_withdrawn": withdrawn_json(Withdrawn("s", ONE)),
    "session.deleted": deleted_json(SessionDeleted("s", ONE, datetime.now(UTC))),
}


def test_every_type_has_a_heading_of_its_own():
    named = [name for heading in HEADINGS for name in re.findall(r"`([\w.]+)`", heading)]
    assert sorted(named) == sorted(EventType)


def test_every_type_that_is_sent_has_an_example():
    shown = {json.loads(block.text)["type"] for block in EXAMPLES}
    assert shown == SENT.keys() | UNSTORED.keys()


def test_a_type_without_an_example_is_reserved():
    unsent = {kind.value for kind in EventType} - SENT.keys() - UNSTORED.keys()
    section = re.search(r"^### ([^\n]+)\n\nReserved:", TEXT, re.M)
    assert section is not None
    assert set(re.findall(r"`([\w.]+)`", section[1])) == unsent


@pytest.mark.parametrize("block", EXAMPLES, ids=lambda block: f"{block.line}")
def test_an_example_has_the_fields_that_are_sent(block: Block):
    example = json.loads(block.text)
    sent = dict(UNSTORED.get(example["type"]) or SENT[example["type"]])
    if "seq" not in example:
        sent = {key: value for key, value in sent.items() if key not in ENVELOPE}
    assert set(paths(example)) == set(paths(sent))


def test_every_field_of_the_envelope_is_explained():
    explained = set(re.findall(r"^\| `(\w+)` \|", TEXT.partition("## The order")[0], re.M))
    assert explained == ENVELOPE | {"type"}


def test_every_kind_of_error_and_stop_reason_is_named():
    unused = {StopReason.REQUIRES_ACTION}
    named = set(re.findall(r"`(\w+)`", TEXT))
    assert {kind.value for kind in ErrorKind} <= named
    assert {reason.value for reason in StopReason} - unused <= named


def paths(value: Any, place: str = "") -> Iterator[str]:
    """Every key as a dotted path, through lists too."""
    if isinstance(value, list):
        for item in value:
            yield from paths(item, f"{place}[]")
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield f"{place}.{key}"
            if key not in OPAQUE:
                yield from paths(inner, f"{place}.{key}")
