"""The service's end of the pipe that tells a launcher that the service lives, and its lease."""

import contextlib
import os
from pathlib import Path

__all__ = ["Heartbeat"]


class Heartbeat:
    """While it is open the launcher lets its tree live; closing it, or dying, ends the tree at once, and so
    does a moment that was told by `beat` and passes before the next one is."""

    def __init__(self) -> None:
        self.path = Path()
        self._writer: int | None = None

    def open(self, path: Path) -> None:
        """`path` is made, and removed again by the launcher. Raises OSError."""
        self.path = path
        os.mkfifo(path, 0o600)
        # Both ways, so that opening does not wait for the launcher; no child of the service inherits it.
        self._writer = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)

    def beat(self, until: float) -> None:
        """`until`: when the tree must end unless told again, in the system's monotonic seconds."""
        if self._writer is not None:
            # Full when the launcher has not read for long; then it is about to end anyway.
            with contextlib.suppress(BlockingIOError):
                os.write(self._writer, b"%.3f\n" % until)

    def close(self) -> None:
        """Safe to call twice."""
        writer, self._writer = self._writer, None
        if writer is not None:
            os.close(writer)
