"""Runs the program as a user does: another process, an environment of its own."""

import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import claude_agent_http

PACKAGES = Path(claude_agent_http.__file__).parents[1]
LIMIT_SECONDS = 60


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    # The tests themselves may run in a container, where the service's defaults are others.
    known = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PACKAGES), "LANG": "C.UTF-8"}
    return {**known, "CLAUDE_AGENT_CONTAINER": "no", **extra}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "claude_agent_http", *arguments]


def run(
    *arguments: str, cwd: Path, env: Mapping[str, str] | None = None, given: str = ""
) -> subprocess.CompletedProcess[str]:
    """The ended program. HOME is `cwd` unless `env` says otherwise."""
    return subprocess.run(
        command(*arguments),
        cwd=cwd,
        env=environment({"HOME": str(cwd)} if env is None else env),
        input=given,
        text=True,
        encoding="utf-8",
        capture_output=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )


def run_in_terminal(*arguments: str, cwd: Path, env: Mapping[str, str], columns: int = 120) -> str:
    """What a terminal of that width gets to see."""
    leader, follower = pty.openpty()
    program = subprocess.Popen(
        command(*arguments),
        cwd=cwd,
        env=environment({**env, "COLUMNS": str(columns), "TERM": "xterm-256color"}),
        stdout=follower,
        stderr=subprocess.PIPE,
        close_fds=True,
    )
    with program, open(follower, closefd=True), open(leader, "rb", closefd=True) as shown:
        program.wait(LIMIT_SECONDS)
        return shown.read1(10_000).decode()
