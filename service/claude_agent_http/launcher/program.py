"""The parent process of one CLI, for the CLI's whole life: it starts it in its jail, with exactly the
environment it was given, and ends its whole tree, whoever dies first.

CLAUDE_AGENT_LAUNCH names a file, removed once read, that says what to do (`parameters.py`).
The heartbeat carries lines: each is the moment, in monotonic seconds, at which the tree must have ended
unless a later one is told. So a paused service, whose sessions another takes over, leaves nothing running.
Exits with the CLI's code, 128 + signal when a signal ended it, 127 when it could not be started and 126 when
it could not be jailed.

It stays in the service's kernel session and starts the CLI in a new one: so is told, in `strays`, what is an
agent's. It is itself in no jail, but has no capability beside one: what is in a jail can neither signal nor
read it. The SDK starts it with the service's environment, which it overwrites."""

import posix

from claude_agent_http.launcher.child import CANNOT_JAIL, say_why_not, start
from claude_agent_http.launcher.kernel import (
    PR_SET_CHILD_SUBREAPER,
    PR_SET_PDEATHSIG,
    SIGTERM,
    drop_capabilities,
    forget_environment,
    prctl,
)
from claude_agent_http.launcher.parameters import SET_BY_THE_SDK, Launch, parse
from claude_agent_http.launcher.pipes import read_pipe
from claude_agent_http.launcher.places import Places

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    forget_environment()
    launch = _parameters(posix.environ.get(b"CLAUDE_AGENT_LAUNCH", b""))
    heartbeat = posix.open(launch.heartbeat, posix.O_RDONLY | posix.O_NONBLOCK)
    posix.unlink(launch.heartbeat)
    _leave_terminal()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(PR_SET_PDEATHSIG, SIGTERM)
    told = read_pipe(heartbeat)
    if posix.getppid() != launch.service or told == b"":
        return 128 + SIGTERM
    places = None
    if launch.jail is not None:
        drop_capabilities()
        try:
            places = Places(launch.jail)
        except OSError as error:
            say_why_not("jail the agent process", error)
            return CANNOT_JAIL
    child = start([launch.cli, *arguments], _environment(launch), launch.jail, places)
    _write_pid(launch.pid_file)
    _let_go_of_pipes()

    # While these load, the CLI starts already.
    from claude_agent_http.launcher.ending import end_tree  # noqa: PLC0415
    from claude_agent_http.launcher.watch import Watch  # noqa: PLC0415

    status = None
    try:
        status = Watch(child, heartbeat, launch, places).until_end(told)
    finally:  # Whatever went wrong: nobody else ends them.
        forced = end_tree(child.pid)
    status = forced if status is None else status
    return posix.WEXITSTATUS(status) if posix.WIFEXITED(status) else 128 + posix.WTERMSIG(status)


def _parameters(path: bytes) -> Launch:
    with open(path, "rb", buffering=0) as file:
        text = file.read()
    posix.unlink(path)
    return parse(text.decode())


def _environment(launch: Launch) -> dict[str, str]:
    given = ((name, posix.environ.get(name.encode())) for name in SET_BY_THE_SDK)
    set_by_it = {name: value.decode(errors="surrogateescape") for name, value in given if value is not None}
    return set_by_it | launch.environment


def _leave_terminal() -> None:
    """A terminal's Ctrl-C is the service's to handle, not the CLI's."""
    posix.setpgid(0, 0)


def _let_go_of_pipes() -> None:
    """Only the CLI may hold the SDK's pipes, so that its end is seen as their end."""
    nothing = posix.open("/dev/null", posix.O_RDWR)
    posix.dup2(nothing, 0)
    posix.dup2(nothing, 1)


def _write_pid(path: str) -> None:
    with open(path, "wb", buffering=0) as file:
        file.write(b"%d" % posix.getpid())
