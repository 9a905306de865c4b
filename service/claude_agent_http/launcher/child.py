"""From the launcher to the CLI: fork, jail, exec."""

import posix
import sys

from claude_agent_http.launcher.kernel import PR_SET_PDEATHSIG, SIGKILL, prctl
from claude_agent_http.launcher.parameters import Jail
from claude_agent_http.launcher.places import Places

TYPE_CHECKING = False  # `typing` takes 5 ms to load.
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CANNOT_JAIL", "Child", "say_why_not", "start"]

CANNOT_JAIL, _CANNOT_RUN = 126, 127


class Child:
    """`listener`: where the filter round its jail asks; None without a jail, and when it was not to be."""

    __slots__ = ("listener", "pid")

    def __init__(self, pid: int, listener: int | None) -> None:
        self.pid = pid
        self.listener = listener


def start(command: list[str], environment: dict[str, str], jail: Jail | None, places: Places | None) -> Child:
    """Returns when it is about to run `command`, in a kernel session of its own. `places` are the jail's."""
    launcher = posix.getpid()
    enter = _way_into(jail, places) if jail is not None and places is not None else None
    answer = _Answer() if jail is not None and jail.program else None
    pid = posix.fork()
    if pid:
        return Child(pid, answer.receive() if answer else None)
    code = CANNOT_JAIL
    try:
        posix.setsid()
        prctl(PR_SET_PDEATHSIG, SIGKILL)
        if enter is not None:
            enter(answer)
        code = _CANNOT_RUN
        if posix.getppid() == launcher:
            posix.execve(command[0], command, environment)
    except OSError as error:
        say_why_not("jail the agent process" if code == CANNOT_JAIL else f"start {command[0]}", error)
    finally:
        posix._exit(code)


def say_why_not(what: str, error: OSError) -> None:
    print(f"cannot {what}: {error.strerror}", file=sys.stderr, flush=True)  # noqa: T201


def _way_into(jail: Jail, places: Places) -> "Callable[[_Answer | None], None]":
    # Only for a jail, but before the fork: the child would have to copy each page that Python writes on.
    from claude_agent_http.launcher.confinement import confine, limit_open_files  # noqa: PLC0415

    def enter(answer: "_Answer | None") -> None:
        listener = confine(jail, places)
        if answer is not None and listener is not None:
            answer.send(listener)
        limit_open_files(jail.files)

    return enter


class _Answer:
    """Hands a descriptor from the child to its parent."""

    def __init__(self) -> None:
        import _socket  # noqa: PLC0415 - `socket` takes 10 ms to load

        self._socket = _socket
        self._parent, self._child = _socket.socketpair()

    def send(self, descriptor: int) -> None:
        number = descriptor.to_bytes(4, sys.byteorder)
        self._child.sendmsg([b"1"], [(self._socket.SOL_SOCKET, self._socket.SCM_RIGHTS, number)])
        posix.close(descriptor)

    def receive(self) -> int | None:
        self._child.close()
        _, given, _, _ = self._parent.recvmsg(1, self._socket.CMSG_SPACE(4))
        self._parent.close()
        return int.from_bytes(given[0][2], sys.byteorder) if given else None
