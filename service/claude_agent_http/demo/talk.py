"""What the demo model says to a person: a few commands that use real tools, and help for all else."""

import re
from collections.abc import Callable
from typing import Any

from claude_agent_http.demo.conversation import Conversation
from claude_agent_http.demo.reply import Block, Pace, Reply, Text, Thinking, ToolUse
from claude_agent_http.demo.steps import without_script

__all__ = ["talk"]

_RUN = re.compile(
    r"^(?:please\s+)?(?:run|运行|执行)\s*(?:[:：]\s*(?P<line>.+)|`(?P<code>[^`]+)`)", re.I | re.S
)
_WRITE = re.compile(
    r"^(?:please\s+)?(?:write|写入|写)\s+(?P<name>[^\s:：]+)\s*[:：]\s*(?P<content>.+)", re.I | re.S
)
_CREATE = re.compile(
    r"^(?:please\s+)?(?:create\s+(?:a\s+)?file(?:\s+(?:named|called))?|创建文件)\s+(?P<name>\S+?)"
    r"\s*(?:with(?:\s+content)?|内容[为是]?)\s*[:：]?\s*(?P<content>.+)",
    re.I | re.S,
)
_READ = re.compile(r"^(?:please\s+)?(?:read|读取|读)\s+(?P<name>\S+)\s*$", re.I)
_THINK = re.compile(r"^(?:please\s+)?(?:think\b|想一?想|思考)\s*(?P<topic>.*)", re.I | re.S)
_COUNT = re.compile(r"(?:count\s+to|数到)\s*(?P<number>\d+)", re.I)
_REMEMBER = re.compile(r"what\s+did\s+i\s+say|remember|我说过什么|记得", re.I)

_MAX_COUNT = 1000
_COUNT_PACE = Pace(token=1 / 30)
_SHOWN = 2000


def talk(conversation: Conversation, pace: Pace) -> Reply:
    """The answer to a message without a script."""
    rules: tuple[Callable[[Conversation, Pace], Reply | None], ...] = (_tool, _count, _think, _recall)
    return next((reply for rule in rules if (reply := rule(conversation, pace))), _help(conversation, pace))


def _tool(conversation: Conversation, pace: Pace) -> Reply | None:
    use = _wanted_tool(conversation.text)
    if use is None:
        return None
    if conversation.tool_result is not None:
        return _say(_report(use, conversation), pace)
    if use.name not in conversation.tools:
        return _say(f"I would use the {use.name} tool for that, but this agent does not have it.", pace)
    blocks: tuple[Block, ...] = (Text(f"I will use {use.name}."), use)
    return Reply(blocks, stop_reason="tool_use", pace=pace)


def _wanted_tool(text: str) -> ToolUse | None:
    if found := _RUN.search(text):
        command = (found["line"] or found["code"]).strip().strip("`")
        return ToolUse("Bash", {"command": command, "description": "Run the command that was asked for"})
    if found := _WRITE.search(text) or _CREATE.search(text):
        return ToolUse("Write", {"file_path": found["name"].strip("`'\""), "content": found["content"]})
    if found := _READ.search(text):
        return ToolUse("Read", {"file_path": found["name"].strip("`'\"")})
    return None


def _report(use: ToolUse, conversation: Conversation) -> str:
    result = _shortened((conversation.tool_result or "").strip())
    if conversation.tool_failed:
        return f"{use.name} failed:\n\n```\n{result}\n```"
    reports: dict[str, Callable[[Any], str]] = {
        "Bash": lambda given: f"`{given['command']}` printed:\n\n```\n{result or '(nothing)'}\n```",
        "Write": lambda given: f"I wrote {len(given['content'])} characters to `{given['file_path']}`.",
        "Read": lambda given: f"`{given['file_path']}` holds:\n\n```\n{result}\n```",
    }
    return reports[use.name](use.input)


def _count(conversation: Conversation, _pace: Pace) -> Reply | None:
    found = _COUNT.search(conversation.text)
    if found is None:
        return None
    last = min(int(found["number"][:6]), _MAX_COUNT)
    return _say(" ".join(str(number) for number in range(1, last + 1)) or "0", _COUNT_PACE)


def _think(conversation: Conversation, pace: Pace) -> Reply | None:
    found = _THINK.search(conversation.text)
    if found is None:
        return None
    topic = _shortened(found["topic"].strip(" .,!:，。：")) or "nothing in particular"
    thought = f"The user asks me to think: {topic}. I am a script, so this is as far as my thinking goes."
    return Reply((Thinking(thought), Text(f"I have thought {topic}, as well as a script can.")), pace=pace)


def _recall(conversation: Conversation, pace: Pace) -> Reply | None:
    if not _REMEMBER.search(conversation.text):
        return None
    if not conversation.earlier:
        return _say("This is the first message of our conversation; I will remember it.", pace)
    said = "\n".join(
        f"{number}. {_shortened(without_script(text), 200)}"
        for number, text in enumerate(conversation.earlier, start=1)
    )
    return _say(f"So far you said:\n\n{said}", pace)


def _help(conversation: Conversation, pace: Pace) -> Reply:
    number = len(conversation.earlier) + 1
    return _say(
        f"This is the demo model, a script that needs no API key. "
        f"You said: “{_shortened(conversation.text, 300)}” (message {number} of this conversation).\n\n"
        "I understand:\n"
        "- `run: ls -l` runs a command (运行: ls -l)\n"
        "- `write note.txt: hello` writes a file (写 note.txt: 你好)\n"
        "- `read note.txt` reads it back (读 note.txt)\n"
        "- `think about tea` shows a thinking block (想想 ...)\n"
        "- `count to 100` streams slowly (数到 100)\n"
        "- `what did I say` recalls this conversation (我说过什么)\n\n"
        "For a real model set ANTHROPIC_API_KEY and start the service again.",
        pace,
    )


def _say(text: str, pace: Pace) -> Reply:
    return Reply((Text(text),), pace=pace)


def _shortened(text: str, limit: int = _SHOWN) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
