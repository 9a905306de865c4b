"""The processes of one session, as the service sees them: what keeps them alive, and how they are ended."""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

from claude_agent_http.launcher.processes import children
from claude_agent_http.runtime.heartbeat import Heartbeat

__all__ = ["ProcessTree"]

_OBEY_SECONDS = 1.0


class ProcessTree:
    """Its launcher ends it when the heartbeat stops. An agent can stop its launcher (SIGSTOP), which then
    hears nothing: it is killed, the kernel ends the CLI with it, and what that had started is a stray.

    `pid` is the launcher's, None until it is known."""

    def __init__(self) -> None:
        self.pid: int | None = None
        self._heartbeat = Heartbeat()
        self._late: asyncio.TimerHandle | None = None

    @property
    def heartbeat_path(self) -> Path:
        return self._heartbeat.path

    def open(self, path: Path) -> None:
        """`path`: see `Heartbeat.open`. Raises OSError."""
        self._heartbeat.open(path)

    def beat(self, until: float) -> None:
        """`until`: see `Heartbeat.beat`."""
        self._heartbeat.beat(until)

    def end(self) -> None:
        """Ask its launcher to end it, and see to it after a second. Safe to call again."""
        self._heartbeat.close()
        if self._late is None:
            self._late = asyncio.get_running_loop().call_later(_OBEY_SECONDS, self._kill_launcher)

    def kill(self) -> None:
        """End it without waiting for anybody. Safe to call again."""
        self._heartbeat.close()
        if self._late is not None:
            self._late.cancel()
        self._kill_launcher()

    def _kill_launcher(self) -> None:
        # Only while it is our child does its number mean it: a dead one keeps it until it is waited for.
        if self.pid is not None and self.pid in children():
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
