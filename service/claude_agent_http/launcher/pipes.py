"""What the launcher hears."""

import posix

__all__ = ["read_pipe"]


def read_pipe(pipe: int) -> bytes | None:
    """None when there is nothing, empty when no writer holds the other end."""
    try:
        return posix.read(pipe, 4096)
    except BlockingIOError:
        return None
