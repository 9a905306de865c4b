"""The launcher while its CLI runs: it answers the jail and waits for an end."""

import _signal  # type: ignore[import-not-found]  # `signal` around it would keep the CLI waiting for 3 ms
import os
import select
import time

from claude_agent_http.launcher.child import Child
from claude_agent_http.launcher.kernel import SIGINT, SIGTERM
from claude_agent_http.launcher.memory import MemoryLimit
from claude_agent_http.launcher.parameters import Launch
from claude_agent_http.launcher.pipes import read_pipe
from claude_agent_http.launcher.places import Places
from claude_agent_http.launcher.processes import kill
from claude_agent_http.launcher.supervisor import Supervisor

__all__ = ["Watch"]

_GRACE_SECONDS = 3.0
_HUNG_UP = select.POLLHUP | select.POLLERR


class Watch:
    """Over one CLI, until it ends: by itself, asked to by a signal, or forced when the service is gone or its
    lease over."""

    def __init__(self, child: Child, heartbeat: int, launch: Launch, places: Places | None) -> None:
        self._cli = child.pid
        self._heartbeat = heartbeat
        self._service = launch.service
        self._memory = MemoryLimit(child.pid, launch.jail.memory_bytes if launch.jail else 0)
        self._listener = child.listener
        self._supervisor = _supervisor(child.listener, launch, places)
        self._wake = _wake_on_signals()
        self._deadline: float | None = None
        self._lease: float | None = None
        self._rest = b""
        self._poll = select.poll()
        for descriptor in (heartbeat, self._wake, *([child.listener] if child.listener else [])):
            self._poll.register(descriptor, select.POLLIN)

    def until_end(self, told: bytes | None) -> int | None:
        """`told` by the heartbeat before. Returns the CLI's status, as of `waitpid`; None when it is to be
        ended by force."""
        self._hear(told)
        while True:
            status = _reap(self._cli)
            if status is not None:
                return status
            ready = dict(self._poll.poll(self._milliseconds()))
            if self._listener in ready:
                self._answer(ready[self._listener])
            told = read_pipe(self._heartbeat) if self._heartbeat in ready else None
            self._hear(told)
            if told == b"" or os.getppid() != self._service or self._is_over():
                return None
            if self._wake in ready:
                self._pass_on(read_pipe(self._wake) or b"")
            self._memory.hold()

    def _milliseconds(self) -> float | None:
        """Until there is something to do without being asked."""
        ends = [end - time.monotonic() for end in (self._deadline, self._lease) if end is not None]
        if (wait := self._memory.seconds_until_next()) is not None:
            ends.append(wait)
        return max(0.0, min(ends)) * 1000 if ends else None

    def _is_over(self) -> bool:
        return any(time.monotonic() >= end for end in (self._deadline, self._lease) if end is not None)

    def _hear(self, told: bytes | None) -> None:
        """The newest moment of the heartbeat's whole lines; the rest of one comes later."""
        *lines, self._rest = (self._rest + (told or b"")).split(b"\n")
        if lines:
            self._lease = float(lines[-1])

    def _answer(self, events: int) -> None:
        if self._supervisor is not None and events & select.POLLIN:
            self._supervisor.answer()
        elif self._listener is not None and events & _HUNG_UP:  # No process is left in the jail.
            self._poll.unregister(self._listener)
            self._listener = None

    def _pass_on(self, signals: bytes) -> None:
        for number in (SIGTERM, SIGINT):
            if number in signals:
                kill(self._cli, number)
                self._deadline = self._deadline or time.monotonic() + _GRACE_SECONDS


def _supervisor(listener: int | None, launch: Launch, places: Places | None) -> Supervisor | None:
    if listener is None or launch.jail is None or places is None:
        return None
    return Supervisor(listener, places, launch.jail)


def _reap(cli: int) -> int | None:
    """Collect every child that has ended; the CLI's status when it is among them."""
    found = None
    try:
        while True:
            child, status = os.waitpid(-1, os.WNOHANG)
            if child == cli:
                found = status
            if child == 0:
                return found
    except ChildProcessError:
        return found


def _wake_on_signals() -> int:
    """A pipe that gets each signal's number as a byte."""
    reader, writer = os.pipe()
    for end in (reader, writer):
        os.set_blocking(end, False)
    _signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (_signal.SIGTERM, _signal.SIGINT, _signal.SIGCHLD):
        _signal.signal(number, lambda *_: None)
    _signal.signal(_signal.SIGHUP, _signal.SIG_IGN)
    return reader
