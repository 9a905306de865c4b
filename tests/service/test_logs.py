"""What the log says of an exception, and of the libraries below, in each format."""

import json
import subprocess
import sys

import pytest

_PROGRAM = """
import logging, sys, structlog
from claude_agent_http import logs

def fails(prompt):
    raise RuntimeError("the disk is broken")

logs.configure("debug", sys.argv[1])
try:
    fails("my message " + "to you")
except RuntimeError:
    structlog.get_logger("a").exception("structured", session_id="s1")
    logging.getLogger("b").exception("plain", extra={"session_id": "s2"})
logging.getLogger("claude_agent_sdk._internal.query").error("my message to you")
logging.getLogger("sse_starlette.sse").debug("my message to you")
logging.getLogger("claude_agent_sdk.other").warning("of the SDK")
"""


@pytest.mark.parametrize("form", ["json", "console", "auto"])
def test_an_exception_is_told_without_the_values_of_variables(form: str) -> None:
    said = logged(form)
    assert said.count("Traceback (most recent call last)") == 2
    assert said.count("RuntimeError: the disk is broken") == 2
    assert said.count("in fails") == 2
    assert "s1" in said
    assert "s2" in said
    assert "my message to you" not in said


def test_each_line_of_json_is_one_object() -> None:
    lines = [json.loads(line) for line in logged("json").splitlines()]
    assert [line["event"] for line in lines] == ["structured", "plain", "of the SDK"]
    assert [line["logger"] for line in lines] == ["a", "b", "claude_agent_sdk.other"]
    assert [line.get("session_id") for line in lines] == ["s1", "s2", None]
    assert all(line["timestamp"].endswith("Z") and line["level"] in {"error", "warning"} for line in lines)


def logged(form: str) -> str:
    """In a process of its own: it sets the whole process's logging."""
    command = [sys.executable, "-c", _PROGRAM, form]
    ended = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert ended.stdout == ""
    return ended.stderr
