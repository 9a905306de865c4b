"""Ends the processes of agents whose launcher was killed, so that it could not end them itself."""

import asyncio
import os
import signal
import sys
import time
from contextlib import suppress

import structlog

from claude_agent_http.launcher.kernel import PR_SET_CHILD_SUBREAPER, prctl
from claude_agent_http.launcher.processes import children

__all__ = ["Strays"]

_log = structlog.get_logger(__name__)
_LIMIT_SECONDS = 2.0
_PAUSE_SECONDS = 0.005


class Strays:
    """`async with` it round everything that starts runtimes, in a process that serves and does nothing else.

    The process becomes a subreaper: who loses its launcher becomes our child, as does who loses a stray.
    A child of ours is a stray when it is in another kernel session (setsid) than we are. A launcher stays in
    ours from its fork on, and starts its CLI in a new one; a process can leave a session but never enter one,
    so nothing that an agent starts can pass for a launcher, whatever it makes of its environment or command
    line, and a launcher that is just being started cannot be taken for a stray.

    Spared are the children of before, as an entry point leaves them. As pid 1 of a container we also end what
    `docker exec` left behind there; a process that tests run in may have children with sessions of their own.
    On systems without Linux's subreapers it does nothing."""

    def __init__(self, every_seconds: float = 2.0) -> None:
        self._every_seconds = every_seconds
        self._spared: frozenset[int] = frozenset()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Strays":
        if sys.platform == "linux":
            self._spared = frozenset(children())
            prctl(PR_SET_CHILD_SUBREAPER, 1)
            self._task = asyncio.create_task(self._keep_sweeping(), name="strays")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            await self.sweep()
            self._task = None
            prctl(PR_SET_CHILD_SUBREAPER, 0)

    async def sweep(self) -> None:
        """Return when no stray is left, at once when there is none; after 2 s give up until the next time.
        Does nothing outside of the block."""
        if self._task is None:
            return
        limit = time.monotonic() + _LIMIT_SECONDS
        try:
            while found := self._found():
                if time.monotonic() >= limit:
                    _log.warning("processes of an agent do not end", pids=found)
                    return
                for pid in found:
                    _end(pid)
                # A killed process takes a moment to end and leave orphans.
                await asyncio.sleep(_PAUSE_SECONDS)
        except OSError as error:
            _log.warning("cannot look for processes without a launcher", reason=str(error))

    async def _keep_sweeping(self) -> None:
        while True:
            await asyncio.sleep(self._every_seconds)
            await self.sweep()

    def _found(self) -> list[int]:
        ours = os.getsid(0)
        return [pid for pid in children() if pid not in self._spared and _session_of(pid) not in (ours, None)]


def _session_of(pid: int) -> int | None:
    """None when it is gone."""
    with suppress(ProcessLookupError):
        return os.getsid(pid)
    return None


def _end(pid: int) -> None:
    """Reap this one only, now or when it is found again: others are asyncio's to wait for."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
