"""A launcher started as the SDK does it, with scripts in the place of the CLI."""

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.waiting import wait_until

from claude_agent_http.launcher.command import command
from claude_agent_http.launcher.parameters import Launch, dump

# Starts children in every way that is known to lose them, each writing its pid, then goes on as told.
_BREEDER = """#!/bin/sh
cd "$(dirname "$0")"
cat > stubborn <<'END'
trap '' TERM HUP INT
echo $$ > stubborn.pid
while :; do sleep 1; done
END
setsid sh -c 'echo $$ > setsid.pid; exec sleep 600' &
(sh -c 'echo $$ > double.pid; exec sleep 600' &)
nohup sh -c 'echo $$ > nohup.pid; exec sleep 600' >/dev/null 2>&1 &
setsid sh -c '(setsid sh stubborn &)' &
for name in setsid double nohup stubborn; do
    while [ ! -s $name.pid ]; do sleep 0.01; done
done
echo $$ > cli.pid
{then}
"""


class Launched:
    """A launcher started as the SDK does it, with a stand-in for the CLI."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.heartbeat = -1
        self.process: subprocess.Popen[bytes] | None = None

    def start(
        self,
        script: str,
        *arguments: str,
        env: dict[str, str] | None = None,
        lease: float | None = None,
        before: str = "",
        **changes: Any,
    ) -> None:
        """`before` is Python that the launcher runs ahead of its program."""
        parameters = self.parameters(script, env, **changes)
        if lease is not None:
            self.tell(lease)
        *python, code = command(sys.executable)
        code = code.replace("from claude_agent_http", f"{before}from claude_agent_http")
        self.process = subprocess.Popen(
            [*python, code, *arguments],
            env=os.environ | {"CLAUDE_AGENT_LAUNCH": str(parameters)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def parameters(self, script: str, env: dict[str, str] | None = None, **changes: Any) -> Path:
        cli = self.folder / "cli"
        cli.write_text(script)
        cli.chmod(0o755)
        fifo = self.folder / "heartbeat"
        os.mkfifo(fifo)
        self.heartbeat = os.open(fifo, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        path = self.folder / "parameters"
        given: dict[str, Any] = {
            "cli": str(cli),
            "heartbeat": str(fifo),
            "service": os.getpid(),
            "pid_file": str(self.folder / "launcher.pid"),
            "environment": {"PATH": os.environ["PATH"], **(env or {})},
        }
        path.write_text(dump(Launch(**(given | changes))))
        return path

    def tell(self, *moments: float) -> None:
        """Until when the lease holds, in monotonic seconds."""
        os.write(self.heartbeat, b"".join(b"%.3f\n" % moment for moment in moments))

    def end(self) -> tuple[int, str, str]:
        """Exit code, output and errors; everything must be over within 10 s."""
        assert self.process is not None
        output, errors = self.process.communicate(timeout=10)
        return self.process.returncode, output.decode(), errors.decode()

    def tree(self) -> dict[str, int]:
        wait_until(lambda: has_text(self.folder / "cli.pid"))
        return {
            path.stem: int(path.read_text()) for path in self.folder.glob("*.pid") if path.stem != "launcher"
        }

    def clean(self) -> None:
        with suppress(OSError):
            os.close(self.heartbeat)
        if self.process is not None:
            if self.process.poll() is None:
                self.process.kill()
            self.process.communicate(timeout=10)


def breeder(then: str) -> str:
    """A script with children that are hard to find, each of which has written its pid when `then` runs."""
    return _BREEDER.replace("{then}", then)


def has_text(path: Path) -> bool:
    return path.exists() and path.read_text().strip() != ""


def alive(pids: Mapping[str, int]) -> set[str]:
    """The names of those that live; a zombie does not."""
    return {name for name, pid in pids.items() if _is_alive(pid)}


def _is_alive(pid: int) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
