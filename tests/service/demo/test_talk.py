"""What the demo model says to people who write no script."""

import pytest

from claude_agent_http.demo.reply import Pace, Text, Thinking, ToolUse
from claude_agent_http.demo.script import answer


def text_of(reply):
    return "".join(block.text for block in reply.blocks if isinstance(block, Text))


def tool_of(reply):
    return next(
        ((block.name, dict(block.input)) for block in reply.blocks if isinstance(block, ToolUse)), None
    )


def after_tool(content, **extra):
    block = {"type": "tool_result", "tool_use_id": "t", "content": content, **extra}
    called = {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "x", "input": {}}]}
    return (called, {"role": "user", "content": [block]})


@pytest.mark.parametrize(
    ("said", "command"),
    [
        ("run: ls -l", "ls -l"),
        ("Run `echo hi` please", "echo hi"),
        ("please run: a; b", "a; b"),
        ("运行：pwd", "pwd"),
        ("执行 `pwd`", "pwd"),
    ],
)
def test_run_uses_bash(ask, said, command):
    reply = answer(ask(said))
    name, given = tool_of(reply)
    assert (name, given["command"], reply.stop_reason) == ("Bash", command, "tool_use")


@pytest.mark.parametrize(
    ("said", "name", "content"),
    [
        ("write note.txt: hello there", "note.txt", "hello there"),
        ("create a file b.md with two\nlines", "b.md", "two\nlines"),
        ("create file named `c.txt` with content: x", "c.txt", "x"),
        ("写 笔记.txt：你好", "笔记.txt", "你好"),
        ("创建文件 a.txt 内容为 你好", "a.txt", "你好"),
    ],
)
def test_write_uses_write(ask, said, name, content):
    assert tool_of(answer(ask(said))) == ("Write", {"file_path": name, "content": content})


@pytest.mark.parametrize("said", ["read note.txt", "读取 note.txt", "Read `note.txt`"])
def test_read_uses_read(ask, said):
    assert tool_of(answer(ask(said))) == ("Read", {"file_path": "note.txt"})


@pytest.mark.parametrize(
    ("said", "printed", "reported"),
    [("run: date", "Monday", "Monday"), ("write a: bcd", "ok", "3 characters"), ("read a", "bcd", "bcd")],
)
def test_the_tools_result_is_reported(ask, said, printed, reported):
    reply = answer(ask(said, after=after_tool(printed)))
    assert tool_of(reply) is None
    assert reported in text_of(reply)


def test_a_failed_tool_is_reported_as_failed(ask):
    reply = answer(ask("read a", after=after_tool("no such file", is_error=True)))
    assert "failed" in text_of(reply)
    assert "no such file" in text_of(reply)


def test_a_tool_the_agent_lacks_is_not_called(ask):
    reply = answer(ask("run: ls", tools=[]))
    assert tool_of(reply) is None
    assert "does not have it" in text_of(reply)


def test_thinking_comes_first(ask):
    reply = answer(ask("think about tea"))
    assert [type(block) for block in reply.blocks] == [Thinking, Text]
    assert "about tea" in text_of(reply)


@pytest.mark.parametrize(("said", "last"), [("count to 12", 12), ("数到 3", 3), ("count to 99999999", 1000)])
def test_counting_streams_slowly_up_to_a_thousand(ask, said, last):
    reply = answer(ask(said))
    assert text_of(reply).split() == [str(number) for number in range(1, last + 1)]
    assert reply.pace == Pace(token=1 / 30)


def test_it_remembers(ask):
    before = ({"role": "user", "content": "my name is Ada"}, {"role": "assistant", "content": "hello"})
    assert "1. my name is Ada" in text_of(answer(ask("what did I say?", before=before)))
    assert "first message" in text_of(answer(ask("do you remember me")))


def test_anything_else_says_what_this_is_and_how_to_get_a_real_model(ask):
    before = ({"role": "user", "content": "one"}, {"role": "assistant", "content": "hello"})
    said = text_of(answer(ask("runaway readers thinking", before=before), Pace(token=0.01)))
    for part in ("demo model", "runaway readers thinking", "message 2", "run: ls", "ANTHROPIC_API_KEY"):
        assert part in said
