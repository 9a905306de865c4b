"""Time and names: what must not come from nowhere where tests decide it."""

from datetime import datetime
from typing import Protocol

__all__ = ["Clock", "Ids"]


class Clock(Protocol):
    def now(self) -> datetime:
        """The time of day, UTC, timezone-aware."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary point; never goes back."""
        ...


class Ids(Protocol):
    def session_id(self) -> str:
        """A new UUID in its canonical lower-case form."""
        ...

    def replica_id(self) -> str:
        """A new one, never used before by any process."""
        ...

    def event_id(self) -> str:
        """A new `sevt_...` id; ids sort by the millisecond they were made in."""
        ...

    def audit_id(self) -> str:
        """A new `aud_...` id; these sort so too."""
        ...

    def secret(self, size: int) -> bytes:
        """So many bytes that nobody can guess."""
        ...
