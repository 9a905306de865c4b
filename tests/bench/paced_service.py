"""The service over a runtime that costs nothing and speaks at the pace that a message asks for, run by its
path in the place of the service: what is measured then is the service, not agents.
"""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

from claude_agent_http import app
from claude_agent_http.__main__ import main
from claude_agent_http.ports import Ids
from claude_agent_http.runtime.fake import FakeRuntimeFactory, Say, Step, Wait

_TEXT = "a message of some forty characters, whole"


def _play(prompt: str) -> list[Step]:
    """`{"first": seconds, "every": seconds, "messages": count}`: each message is three events."""
    asked = json.loads(prompt)
    moments = (asked["first"] + number * asked["every"] for number in range(asked["messages"]))
    return [step for moment in moments for step in _said_at(moment)]


def _said_at(seconds: float) -> Iterator[Step]:
    due = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, due.set)
    yield Wait(due)
    yield Say(_TEXT, whole=True)


def _paced(_config: Any, _transcripts: Any, ids: Ids, *_: Any, **__: Any) -> FakeRuntimeFactory:
    return FakeRuntimeFactory(ids, _play)


if __name__ == "__main__":
    vars(app)["CliRuntimeFactory"] = _paced
    main()
