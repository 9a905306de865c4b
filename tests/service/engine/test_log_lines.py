"""What is logged while a session runs says whose it is, whoever writes the line."""

from collections.abc import Sequence

import structlog
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs
from tests.service.engine.harness import Harness

from claude_agent_http.runtime.fake import Say, Step


async def test_a_line_from_below_names_the_session_and_its_user(harness: Harness) -> None:
    def play(prompt: str) -> Sequence[Step]:
        structlog.get_logger("a library").warning("something happened")
        return (Say(prompt),)

    harness.runtimes.play = play
    sessions = [await harness.session(user) for user in ("alice", "bob")]
    with capture_logs(processors=[merge_contextvars]) as logged:
        for session in sessions:
            await harness.say(session, "hi")
    lines = [line for line in logged if line["event"] == "something happened"]
    assert [(line["session_id"], line["user_id"]) for line in lines] == [
        (session.id, session.user_id) for session in sessions
    ]
    assert structlog.contextvars.get_contextvars() == {}
