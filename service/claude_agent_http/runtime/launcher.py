"""The parent process of one CLI, for the CLI's whole life: it starts it with exactly the environment it was
given and ends its whole tree, whoever dies first. Standard library only; run by `python -I -S launcher.py`.

CLAUDE_AGENT_LAUNCH names a file, removed once read, of texts that each end in NUL: the CLI's path, the
heartbeat's path, the service's pid, the path to write our own pid to, then the environment as NAME=VALUE.
The heartbeat carries lines: each is the moment, in monotonic seconds, at which the tree must have ended
unless a later one is told. So a paused service, whose sessions another takes over, leaves nothing running.
Exits with the CLI's code, 128 + signal when a signal ended it, 127 when it could not be started.

It stays in the service's kernel session and starts the CLI in a new one: so is told, in `strays`, what is an
agent's. What it imports before the CLI runs, each start of a session waits for."""

import ctypes
import os
import sys

SET_BY_THE_SDK = (
    "CLAUDE_AGENT_SDK_VERSION",
    "CLAUDE_CODE_ENTRYPOINT",
    "CLAUDE_CODE_SDK_READS_SESSION_STATE",
    "PWD",
)
PR_SET_CHILD_SUBREAPER = 36
_PR_SET_PDEATHSIG = 1
_SIGINT, _SIGKILL, _SIGTERM = 2, 9, 15
_GRACE_SECONDS = 3.0
_REAP_SECONDS = 5.0


def main(arguments: list[str]) -> int:
    cli, heartbeat_path, service, pid_path, *environment = _parameters(os.environ["CLAUDE_AGENT_LAUNCH"])
    heartbeat = os.open(heartbeat_path, os.O_RDONLY | os.O_NONBLOCK)
    os.unlink(heartbeat_path)
    _leave_terminal()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(_PR_SET_PDEATHSIG, _SIGTERM)
    told = _read(heartbeat)
    if os.getppid() != int(service) or told == b"":
        return 128 + _SIGTERM
    child = _start([cli, *arguments], _environment(environment))
    _write_pid(pid_path)
    _let_go_of_pipes()
    status = _watch(child, heartbeat, int(service), _lease(told, None))
    _end_tree(child)
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def _parameters(path: str) -> list[str]:
    with open(path, encoding="utf-8") as file:
        texts = file.read().split("\0")
    os.unlink(path)
    return texts[:-1]


def _environment(given: list[str]) -> dict[str, str]:
    environment = {name: os.environ[name] for name in SET_BY_THE_SDK if name in os.environ}
    for pair in given:
        name, _, value = pair.partition("=")
        environment[name] = value
    return environment


def _start(command: list[str], environment: dict[str, str]) -> int:
    launcher = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()
        prctl(_PR_SET_PDEATHSIG, _SIGKILL)
        if os.getppid() == launcher:
            os.execve(command[0], command, environment)  # noqa: S606
    except OSError as error:
        print(f"cannot start {command[0]}: {error.strerror}", file=sys.stderr, flush=True)  # noqa: T201
    finally:
        os._exit(127)


def _watch(cli: int, heartbeat: int, service: int, lease: float | None) -> int:
    """Wait for the CLI's end: asked for by a signal, forced when the service is gone or its lease over."""
    import select  # noqa: PLC0415 - only now: while these load, the CLI starts already
    import time  # noqa: PLC0415

    wake = _wake_on_signals()
    deadline: float | None = None
    while True:
        status = _reap(cli)
        if status is not None:
            return status
        ends = [end for end in (deadline, lease) if end is not None]
        timeout = max(0.0, min(ends) - time.monotonic()) if ends else None
        ready, _, _ = select.select([heartbeat, wake], [], [], timeout)
        asked = (_read(wake) or b"") if wake in ready else b""
        told = _read(heartbeat) if heartbeat in ready else None
        lease = _lease(told, lease)
        gone = os.getppid() != service or told == b""
        if gone or any(time.monotonic() >= end for end in (deadline, lease) if end is not None):
            _kill(cli, _SIGKILL)
            return os.waitpid(cli, 0)[1]
        for number in (_SIGTERM, _SIGINT):
            if number in asked:
                _kill(cli, number)
                deadline = deadline or time.monotonic() + _GRACE_SECONDS


def _lease(told: bytes | None, known: float | None) -> float | None:
    """The newest moment of the heartbeat's whole lines: a write of so few bytes comes whole."""
    lines = (told or b"").split()
    return float(lines[-1]) if lines else known


def _end_tree(cli: int) -> None:
    """Kill every descendant: as subreaper we inherit the orphans, also those that left the CLI's session."""
    import time  # noqa: PLC0415

    _kill(-cli, _SIGKILL)
    limit = time.monotonic() + _REAP_SECONDS
    while time.monotonic() < limit:
        for child in children():
            _kill(child, _SIGKILL)
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.002)  # A killed child takes a moment to end, and may leave us orphans to kill.
        except ChildProcessError:
            return


def children() -> list[int]:
    """Of the calling process's main thread, which also gets every orphan; dead ones until they are reaped."""
    me = os.getpid()
    try:
        with open(f"/proc/self/task/{me}/children", encoding="ascii") as file:
            return [int(pid) for pid in file.read().split()]
    except FileNotFoundError:  # A kernel without CONFIG_PROC_CHILDREN, or no Linux.
        names = os.listdir("/proc") if os.path.isdir("/proc") else []
        return [int(name) for name in names if name.isdecimal() and _parent_of(name) == me]


def _parent_of(pid: str) -> int:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0


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
    import signal  # noqa: PLC0415

    reader, writer = os.pipe()
    for end in (reader, writer):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return reader


def _read(pipe: int) -> bytes | None:
    """None when there is nothing, empty when no writer holds the other end."""
    try:
        return os.read(pipe, 4096)
    except BlockingIOError:
        return None


def _leave_terminal() -> None:
    """A terminal's Ctrl-C is the service's to handle, not the CLI's."""
    os.setpgid(0, 0)


def _let_go_of_pipes() -> None:
    """Only the CLI may hold the SDK's pipes, so that its end is seen as their end."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)


def _write_pid(path: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(str(os.getpid()))


def _kill(pid: int, number: int) -> None:
    """A negative `pid` names a process group."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def prctl(option: int, value: int) -> None:
    """Linux only; elsewhere the heartbeat and the process group do what they can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
