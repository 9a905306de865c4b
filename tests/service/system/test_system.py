"""Ids, the memory gauge and the logs, as the rest of the service relies on them."""

import json
import subprocess
import sys
import time

import pytest

from claude_agent_http.system import RandomIds

_MEASURE = """
import subprocess, sys
from claude_agent_http.system import MemorySampler
alone = MemorySampler()()
hungry = "held = bytearray(64 * 2**20); print(flush=True); input()"
with subprocess.Popen([sys.executable, "-c", hungry], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
    child.stdout.readline()
    print(MemorySampler()() - alone)
    child.communicate(b"\\n")
"""
_LOGS = """
import logging, structlog
from claude_agent_http import logs
logs.configure("info", "json")
structlog.get_logger("a").info("turn ended", session_id="s1", turn_id="t1")
logging.getLogger("some.library").warning("theirs")
structlog.get_logger("a").debug("not at this level")
logging.getLogger("uvicorn.error").info("chatter")
try:
    raise ValueError("why")
except ValueError:
    logging.getLogger("some.library").exception("bad")
"""


def test_event_ids_are_unique_and_sort_by_time() -> None:
    ids = RandomIds()
    began = time.time_ns() // 1_000_000
    first = ids.event_id()
    while time.time_ns() // 1_000_000 == began:
        pass
    later = [ids.event_id() for _ in range(1000)]
    assert len({first, *later}) == 1001
    assert all(first < one and len(one) == len(first) == 31 for one in later)


@pytest.mark.tier("linux")
def test_memory_counts_children_and_shared_pages_once() -> None:
    """In a process of its own: what this one holds changes as earlier tests' leavings are collected."""
    run = subprocess.run(
        [sys.executable, "-c", _MEASURE], capture_output=True, text=True, check=True, timeout=60
    )
    assert 60 <= int(run.stdout) <= 90


def test_logs_are_one_json_object_a_line_whoever_writes_them() -> None:
    run = subprocess.run([sys.executable, "-c", _LOGS], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in run.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["turn ended", "theirs", "bad"]
    assert (lines[0]["session_id"], lines[0]["turn_id"], lines[0]["level"]) == ("s1", "t1", "info")
    assert "ValueError: why" in lines[2]["exception"]
