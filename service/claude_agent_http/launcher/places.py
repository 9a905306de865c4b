"""The places that a jail may change, each opened once.

By its path a place may come to be another one at any moment: the user's other agents can put a link there. So
what Landlock allows, the folder in which the CLI begins and what the supervisor changes go by one descriptor.
"""

import posix
from _stat import S_ISDIR

from claude_agent_http.launcher.kernel import open_without_links
from claude_agent_http.launcher.parameters import Jail

__all__ = ["Places"]

_REMOVED = b" (deleted)"


class Places:
    """`writes` are descriptors, closed when a program is run. Raises OSError, also when a link is on the way
    to a place."""

    __slots__ = ("_cwd", "_folders", "writes")

    def __init__(self, jail: Jail) -> None:
        self._cwd = open_without_links(jail.cwd)
        given = (place for path in jail.writes if (place := _opened_if_there(path)) is not None)
        self.writes = (self._cwd, *given)
        # A device that it may write to is everybody's.
        self._folders = tuple(place for place in self.writes if S_ISDIR(posix.fstat(place).st_mode))

    def enter(self) -> None:
        """Raises OSError."""
        posix.fchdir(self._cwd)

    def hold(self, file: int) -> bool:
        """Whether the opened file is one of the folders, or lies below one, wherever that is by now."""
        path = _path(file)
        folders = [folder for folder in map(_path, self._folders) if not folder.endswith(_REMOVED)]
        return any(path == folder or path.startswith(folder + b"/") for folder in folders)


def _opened_if_there(path: str) -> int | None:
    try:
        return open_without_links(path)
    except FileNotFoundError:
        return None


def _path(place: int) -> bytes:
    return posix.readlink(b"/proc/self/fd/%d" % place)
