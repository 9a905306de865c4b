"""From a request body to a reply: the scripted steps and whose turn it is."""

import json

import pytest

from claude_agent_http.demo.reply import (
    Cut,
    ErrorStatus,
    Garbage,
    Hang,
    Pace,
    Reply,
    Stall,
    Text,
    Thinking,
    ToolUse,
    Trouble,
)
from claude_agent_http.demo.script import ScriptError, answer

BASH = {"tool": "Bash", "input": {"command": "echo hi"}}


def result(text, *, id="t1", **extra):
    return {"type": "tool_result", "tool_use_id": id, "content": text, **extra}


def use(id="t1"):
    return {"role": "assistant", "content": [{"type": "tool_use", "id": id, "name": "Bash", "input": {}}]}


def test_the_first_step_answers_a_new_message(ask):
    assert answer(ask({"text": "one"}, {"text": "two"})) == Reply((Text("one"),))


def test_each_tool_round_moves_to_the_next_step(ask):
    round_1 = (use("a"), {"role": "user", "content": [result("first", id="a")]})
    round_2 = (use("b"), {"role": "user", "content": [result([{"type": "text", "text": "second"}], id="b")]})
    steps = (BASH, BASH, {"text": "got {{tool_result}}"})
    assert answer(ask(*steps, after=round_1)).stop_reason == "tool_use"
    assert answer(ask(*steps, after=round_1 + round_2)) == Reply((Text("got second"),))


def test_the_result_is_that_of_the_tool_called_last_whichever_ended_first(ask):
    both = {"role": "assistant", "content": [*use("a")["content"], *use("b")["content"]]}
    ended = {"role": "user", "content": [result("of b", id="b"), result("of a", id="a")]}
    assert answer(ask(BASH, {"text": "{{tool_result}}"}, after=(both, ended))) == Reply((Text("of b"),))


def test_one_reply_replayed_as_several_assistant_messages_counts_once(ask):
    thought = {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}]}
    after = (thought, use(), {"role": "user", "content": [result("x")]})
    assert answer(ask(BASH, {"text": "two"}, {"text": "three"}, after=after)) == Reply((Text("two"),))


def test_used_up_steps_say_done(ask):
    after = (use(), {"role": "user", "content": [result("x")]})
    assert answer(ask(BASH, after=after)) == Reply((Text("done"),))


def test_the_script_is_found_in_a_block_among_reminders_and_trailing_system_messages(ask):
    blocks = [
        {"type": "text", "text": '<system-reminder>not {"script": 1}</system-reminder>'},
        {"type": "text", "text": 'please {"script": [{"text": "found"}]} thank you'},
        {"type": "text", "text": "<system-reminder>the date</system-reminder>"},
    ]
    body = ask("ignored")
    body["messages"] = [{"role": "user", "content": blocks}, {"role": "system", "content": "the date"}]
    assert answer(body) == Reply((Text("found"),))


def test_a_message_sent_after_an_interruption_is_a_new_turn(ask):
    blocks = [
        result("stopped", is_error=True),
        {"type": "text", "text": "[Request interrupted by user for tool use]"},
        {"type": "text", "text": '{"script": [{"text": "new turn"}]}'},
    ]
    assert answer(ask(BASH, after=(use(), {"role": "user", "content": blocks}))) == Reply((Text("new turn"),))


def test_history_lists_what_the_user_said_before(ask):
    before = (
        {"role": "user", "content": "my name is Ada"},
        {"role": "assistant", "content": "ok"},
        {"role": "user", "content": 'and {"script": [{"text": "x"}]}'},
        {"role": "assistant", "content": "x"},
        {"role": "user", "content": '{"script": [{"text": "y"}]}'},
        {"role": "assistant", "content": "y"},
    )
    (block,) = answer(ask({"text": "{{history}}"}, before=before)).blocks
    assert json.loads(block.text) == ["my name is Ada", "and", "(script)"]


def test_a_step_may_think_and_use_tools_in_parallel(ask):
    step = {"thinking": "hm", "text": "both", "tools": [BASH, {"tool": "Read", "input": {"file_path": "a"}}]}
    assert answer(ask(step)) == Reply(
        (
            Thinking("hm"),
            Text("both"),
            ToolUse("Bash", {"command": "echo hi"}),
            ToolUse("Read", {"file_path": "a"}),
        ),
        stop_reason="tool_use",
    )


def test_tokens_pace_usage_and_stop_reason_are_the_scripts(ask):
    usage = {"input_tokens": 7, "output_tokens": 9}
    step = {"tokens": 3, "first_ms": 500, "delay_ms": 20, "usage": usage, "stop_reason": "max_tokens"}
    assert answer(ask(step)) == Reply(
        (Text("tok0 tok1 tok2"),), "max_tokens", Pace(0.5, 0.02), input_tokens=7, output_tokens=9
    )


@pytest.mark.parametrize(
    ("step", "fault"),
    [
        ({"status": 429, "retry_after": 2}, ErrorStatus(429, 2.0)),
        ({"stall": 3}, Stall(3.0)),
        ({"hang": 3}, Hang(3.0)),
        ({"cut": 4}, Cut(4)),
        ({"garbage": True}, Garbage()),
    ],
)
def test_faults(ask, step, fault):
    trouble = answer(ask({**step, "text": "after", "times": 2}))
    assert isinstance(trouble, Trouble)
    assert (trouble.fault, trouble.times, trouble.reply) == (fault, 2, Reply((Text("after"),)))


def test_the_same_step_of_another_session_or_turn_is_counted_apart(ask):
    step = {"status": 500, "times": 1}
    said = ({"role": "user", "content": "hi"}, {"role": "assistant", "content": "hi"})
    keys = {
        answer(body).key
        for body in (
            ask(step, metadata={"user_id": "a"}),
            ask(step, metadata={"user_id": "b"}),
            ask(step, metadata={"user_id": "a"}, before=said),
        )
    }
    assert len(keys) == 3


@pytest.mark.parametrize(
    "text",
    [
        '{"script": [',
        '{"script": 1}',
        '{"script": [1]}',
        '{"script": [{"status": 200}]}',
        '{"script": [{"tokens": "many"}]}',
        '{"script": [{"tokens": 1e999}]}',
        '{"script": [{"tools": [{"input": {}}]}]}',
        '{"script": [{"text": "x", "usage": 3}]}',
        '{"script": [{"stall": 1, "times": []}]}',
    ],
)
def test_a_script_that_means_nothing_is_refused(ask, text):
    with pytest.raises(ScriptError):
        answer(ask(text))


def test_an_unknown_step_is_told_at_once_with_the_known_ones(ask):
    with pytest.raises(ScriptError, match=r"^step 1: unknown sleep, wait; known: .*delay_ms.*text.*tool,"):
        answer(ask({"text": "fine"}, {"wait": 1, "sleep": 2}))
