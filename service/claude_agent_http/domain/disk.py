"""How much of the disk a user takes."""

from dataclasses import dataclass

__all__ = ["DiskUsage"]


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """`endless` says why it is not all counted, and too much whatever the limit."""

    bytes: int
    endless: str | None = None
