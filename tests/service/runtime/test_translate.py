"""From SDK messages to events, without a CLI."""

from typing import Any

import pytest
from claude_agent_sdk import AssistantMessage, Message, TextBlock
from claude_agent_sdk._internal.message_parser import parse_message

from claude_agent_http.domain.event import Delta, NewEvent, Withdrawn
from claude_agent_http.domain.turn import ErrorKind, StopReason, TurnEnd
from claude_agent_http.ports import RuntimeItem
from claude_agent_http.runtime.translate import Prompt, TurnTranslator
from claude_agent_http.system.ids import CountedIds

UUID = "ours"


def message(raw: dict[str, Any]) -> Message:
    parsed = parse_message({"uuid": "u", "session_id": "s", **raw})
    assert parsed is not None
    return parsed


def stream(event: dict[str, Any], **more: Any) -> Message:
    return message({"type": "stream_event", "event": event, **more})


def assistant(*content: dict[str, Any], message_id: str = "msg_1", **more: Any) -> Message:
    body = {"id": message_id, "model": "claude-demo", "content": list(content)}
    return message({"type": "assistant", "message": body, **more})


def result(**more: Any) -> Message:
    numbers = {"duration_ms": 1, "duration_api_ms": 1, "num_turns": 1, "usage": {"input_tokens": 3}}
    return message({"type": "result", "subtype": "success", "is_error": False, **numbers, **more})


def start(message_id: str = "msg_1") -> Message:
    return stream({"type": "message_start", "message": {"id": message_id, "model": "claude-demo"}})


def block(index: int, kind: str = "text") -> Message:
    return stream({"type": "content_block_start", "index": index, "content_block": {"type": kind}})


def delta(index: int, text: str, kind: str = "text") -> Message:
    return stream(
        {"type": "content_block_delta", "index": index, "delta": {"type": f"{kind}_delta", kind: text}}
    )


BEGIN = message({"type": "system", "subtype": "status", "user_message_uuids": [UUID]})
END = result(user_message_uuids=[UUID])


def translate(*messages: Message, cost_before: float = 0.0, begin: bool = True) -> list[RuntimeItem]:
    translator = TurnTranslator(CountedIds(), Prompt("s", "sevt_turn", UUID, cost_before))
    given = (BEGIN, *messages) if begin else messages
    return [item for one in given for item in translator.feed(one)]


def events(items: list[RuntimeItem], kind: str) -> list[NewEvent]:
    return [item for item in items if isinstance(item, NewEvent) and item.type == kind]


def end_of(*messages: Message, **more: Any) -> TurnEnd:
    last = translate(*messages, **more)[-1]
    assert isinstance(last, TurnEnd)
    return last


def test_what_comes_before_our_prompt_is_taken_up_is_dropped() -> None:
    before = [
        start("old"),
        block(0),
        delta(0, "old"),
        assistant({"type": "text", "text": "old"}, message_id="old"),
    ]
    items = translate(*before, BEGIN, assistant({"type": "text", "text": "new"}), END, begin=False)
    assert [event.data["content"][0]["text"] for event in events(items, "agent.message")] == ["new"]


@pytest.mark.parametrize(
    "stray", [{"user_message_uuids": ["other"]}, {"user_message_uuid": "other"}, {"origin": {"kind": "task"}}]
)
def test_the_result_of_another_turn_ends_nothing(stray: dict[str, Any]) -> None:
    assert translate(result(**stray), begin=False) == []


@pytest.mark.parametrize("named", [{"user_message_uuids": ["x", UUID]}, {"user_message_uuid": UUID}, {}])
def test_the_result_of_ours_ends_it(named: dict[str, Any]) -> None:
    assert len(translate(result(**named))) == 1


def test_two_texts_of_one_message_keep_the_ids_of_their_deltas() -> None:
    items = translate(
        start(), block(0), delta(0, "a"), assistant({"type": "text", "text": "a"}),
        block(1), delta(1, "b"), delta(1, "c"), assistant({"type": "text", "text": "bc"}), END,
    )  # fmt: skip
    deltas = [item for item in items if isinstance(item, Delta)]
    first, second = events(items, "agent.message")
    assert [(item.event_id, item.offset) for item in deltas] == [
        (first.id, 0),
        (second.id, 0),
        (second.id, 1),
    ]


def test_an_abandoned_attempt_lends_its_id_to_nothing() -> None:
    items = translate(
        start("msg_1"), block(0), delta(0, "half"), start("msg_2"), block(0), delta(0, "whole"),
        assistant({"type": "text", "text": "whole"}, message_id="msg_2"), END,
    )  # fmt: skip
    half, whole = (item for item in items if isinstance(item, Delta))
    assert events(items, "agent.message")[0].id == whole.event_id != half.event_id
    (withdrawn,) = (item for item in items if isinstance(item, Withdrawn))
    assert withdrawn.event_id == half.event_id
    assert items.index(half) < items.index(withdrawn) < items.index(whole)


@pytest.mark.parametrize(
    "after",
    [
        [message({"type": "system", "subtype": "api_retry"})],
        [assistant({"type": "text", "text": "whole"}, message_id="msg_2")],
        [],
    ],
)
def test_what_was_streamed_and_never_came_whole_is_withdrawn(after: list[Message]) -> None:
    cut = (start("msg_1"), block(0), delta(0, "half"), stream({"type": "message_stop"}))
    items = translate(*cut, *after, END)
    (half,) = (item for item in items if isinstance(item, Delta))
    assert [item.event_id for item in items if isinstance(item, Withdrawn)] == [half.event_id]


def test_what_came_whole_is_not_withdrawn() -> None:
    items = translate(
        start(), block(0), delta(0, "whole"), assistant({"type": "text", "text": "whole"}),
        start("msg_2"), block(0), delta(0, "next"),
        assistant({"type": "text", "text": "next"}, message_id="msg_2"), END,
    )  # fmt: skip
    assert not [item for item in items if isinstance(item, Withdrawn)]


def test_only_the_part_that_never_came_whole_is_withdrawn() -> None:
    items = translate(
        start(), block(0, "thinking"), delta(0, "hm", "thinking"),
        assistant({"type": "thinking", "thinking": "hm", "signature": "s"}),
        block(1), delta(1, "half"), block(2), start("msg_2"), END,
    )  # fmt: skip
    withdrawn = [item.event_id for item in items if isinstance(item, Withdrawn)]
    assert withdrawn == [item.event_id for item in items if isinstance(item, Delta) and item.text == "half"]


def test_an_interrupt_withdraws_nothing() -> None:
    aborted = result(subtype="error_during_execution", is_error=True, terminal_reason="aborted_streaming")
    items = translate(start(), block(0), delta(0, "half"), stream({"type": "message_stop"}), aborted)
    assert not [item for item in items if isinstance(item, Withdrawn)]
    assert len(events(items, "agent.message")) == 1


def test_the_retry_of_another_request_withdraws_nothing() -> None:
    """A background agent's, while the agent itself goes on writing."""
    retry = message({"type": "system", "subtype": "api_retry"})
    items = translate(start(), block(0), delta(0, "a"), retry, delta(0, "b"))
    assert [item.text for item in items if isinstance(item, Delta)] == ["a", "b"]
    assert not [item for item in items if isinstance(item, Withdrawn)]


def test_a_message_without_deltas_is_given_all_the_same() -> None:
    items = translate(assistant({"type": "text", "text": "a"}, {"type": "text", "text": ""}), END)
    assert len(events(items, "agent.message")) == 1


def test_tool_results_of_every_form() -> None:
    use = {"type": "tool_use", "id": "t1", "name": "mcp__a__b", "input": {}}
    image = {"type": "image", "source": {"type": "base64", "data": "aa"}}
    forms = [("t1", "plain"), ("t2", [image]), ("t3", None)]
    blocks = [{"type": "tool_result", "tool_use_id": use_id, "content": content} for use_id, content in forms]
    answer = message({"type": "user", "message": {"content": [*blocks, {"type": "text", "text": "ignored"}]}})
    items = translate(assistant(use), answer, END)
    results = [item for item in items if isinstance(item, NewEvent) and item.type.endswith("tool_result")]
    assert [item.type for item in results] == [
        "agent.mcp_tool_result",
        "agent.tool_result",
        "agent.tool_result",
    ]
    assert [item.data["content"] for item in results] == [[{"type": "text", "text": "plain"}], [image], []]


def test_a_subagents_words_carry_its_call() -> None:
    items = translate(assistant({"type": "text", "text": "sub"}, parent_tool_use_id="t1"), END)
    assert events(items, "agent.message")[0].data["parent_tool_use_id"] == "t1"


def test_a_compaction_is_told() -> None:
    items = translate(message({"type": "system", "subtype": "compact_boundary"}), END)
    assert len(events(items, "agent.thread_context_compacted")) == 1


def test_a_model_request_that_breaks_off_ends_as_an_error() -> None:
    items = translate(start(), END)
    opened, closed = events(items, "span.model_request_start")[0], events(items, "span.model_request_end")[0]
    assert closed.data["model_request_start_id"] == opened.id
    assert closed.data["is_error"] is True
    assert isinstance(items[-1], TurnEnd)


def test_a_model_requests_usage_is_the_last_that_was_told() -> None:
    began = {"id": "m", "model": "x", "usage": {"input_tokens": 7, "output_tokens": 1}}
    told = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}}
    items = translate(
        stream({"type": "message_start", "message": began}),
        stream(told),
        stream({"type": "message_stop"}),
        END,
    )
    usage = events(items, "span.model_request_end")[0].data["model_usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (7, 9)


@pytest.mark.parametrize(
    ("status", "word", "kind"),
    [
        (429, "rate_limit", ErrorKind.MODEL_RATE_LIMITED),
        (529, "server_error", ErrorKind.MODEL_OVERLOADED),
        (401, "authentication_failed", ErrorKind.MODEL_AUTHENTICATION),
        (403, "unknown", ErrorKind.MODEL_AUTHENTICATION),
        (500, "server_error", ErrorKind.MODEL_REQUEST_FAILED),
        (None, "authentication_failed", ErrorKind.MODEL_AUTHENTICATION),
        (None, "server_error", ErrorKind.MODEL_REQUEST_FAILED),
    ],
)
def test_an_api_error_is_no_message_but_the_turns_end(status: int | None, word: str, kind: ErrorKind) -> None:
    said = assistant({"type": "text", "text": "API Error"}, error=word)
    items = translate(said, result(is_error=True, result="API Error", api_error_status=status))
    assert events(items, "agent.message") == []
    assert isinstance(items[-1], TurnEnd)
    assert items[-1].error is not None
    assert (items[-1].error.kind, items[-1].error.message) == (kind, "API Error")
    assert items[-1].stop_reason is StopReason.RETRIES_EXHAUSTED


def test_how_a_turn_can_end() -> None:
    failed = {"subtype": "error_during_execution", "is_error": True, "errors": ["broken"]}
    aborted = end_of(result(terminal_reason="aborted_streaming", **failed))
    assert (aborted.stop_reason, aborted.error) == (StopReason.END_TURN, None)
    assert aborted.interrupted
    broken = end_of(result(**failed))
    assert broken.error is not None
    assert broken.error.message == "broken"
    assert end_of(result(stop_reason="refusal")).stop_reason is StopReason.REFUSAL
    assert end_of(result(subtype="error_max_budget_usd")).stop_reason is StopReason.BUDGET_REACHED
    capped = end_of(result(subtype="error_max_turns", is_error=True)).error
    assert capped is not None
    assert capped.kind is ErrorKind.MAX_TURNS


@pytest.mark.parametrize(("before", "total", "cost"), [(0, 0.5, 0.5), (0.25, 0.75, 0.5), (0.75, 0.25, 0.25)])
def test_the_cost_is_the_turns_own(before: float, total: float, cost: float) -> None:
    usage = end_of(result(total_cost_usd=total), cost_before=before).usage
    assert usage is not None
    assert usage.cost_usd == pytest.approx(cost)


def test_an_interrupt_keeps_the_unfinished_text() -> None:
    items = translate(
        start(),
        block(0),
        delta(0, "half "),
        delta(0, "a"),
        block(1),
        result(terminal_reason="aborted_streaming"),
    )
    said = events(items, "agent.message")
    assert [event.data["content"][0]["text"] for event in said] == ["half a"]


def test_a_whole_message_is_not_repeated_at_an_interrupt() -> None:
    items = translate(
        start(), block(0), delta(0, "a"), assistant({"type": "text", "text": "a"}),
        result(terminal_reason="aborted_tools"),
    )  # fmt: skip
    assert len(events(items, "agent.message")) == 1


def test_messages_of_other_kinds_say_nothing() -> None:
    odd = AssistantMessage(content=[TextBlock(text="")], model="x")
    assert translate(odd, stream({"type": "ping"}), stream({"type": "content_block_stop", "index": 4})) == []
