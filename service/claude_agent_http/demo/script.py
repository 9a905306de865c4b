"""From a Messages request to what the demo model answers. Pure: no clock, no state, no I/O."""

from collections.abc import Mapping
from typing import Any

from claude_agent_http.demo.conversation import read_conversation
from claude_agent_http.demo.reply import NO_PAUSE, Pace, Reply, Trouble
from claude_agent_http.demo.steps import ScriptError, find_script, play_step
from claude_agent_http.demo.talk import talk

__all__ = ["ScriptError", "answer"]


def answer(body: Mapping[str, Any], talk_pace: Pace = NO_PAUSE) -> Reply | Trouble:
    """The reply to a checked request body; `talk_pace` is for people, scripts set their own.

    Raises ScriptError when the user's text holds a script that cannot be played."""
    conversation = read_conversation(body)
    steps = find_script(conversation.text)
    return talk(conversation, talk_pace) if steps is None else play_step(steps, conversation)
