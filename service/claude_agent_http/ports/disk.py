"""The users' folders."""

from typing import Protocol

from claude_agent_http.domain.disk import DiskUsage
from claude_agent_http.domain.session import Session

__all__ = ["DiskGauge", "Workspaces"]


class Workspaces(Protocol):
    async def is_visible(self, session: Session) -> bool:
        """Whether the session's files are on this replica's disk. Raises nothing."""
        ...

    async def resolve(self, user_id: str, subdir: str | None) -> str:
        """The workspace's absolute path, made if it may be. Raises InvalidInputError, WorkspaceError."""
        ...

    async def erase(self, user_id: str) -> int:
        """Remove the user's folder on this replica's disk, with every workspace in it; how many files went,
        0 for a user without a folder. A repeat goes on where a failure or a crash ended it.

        Raises InvalidInputError; WorkspaceError when something stays.
        """
        ...


class DiskGauge(Protocol):
    async def used(self, user_id: str, *, anew: bool = False) -> DiskUsage | None:
        """What the user takes of the disk, a few seconds old, or as it is now where `anew` and the disk allow
        that; None when it is not known yet. It waits 2 s at the most, and raises nothing."""
        ...
