"""A limit to what the processes of a session hold of memory together: the kernel sets it for one process, and
for a group only to who may make groups."""

import time

from claude_agent_http.launcher.kernel import SIGKILL
from claude_agent_http.launcher.processes import descendants, held_bytes, kill
from claude_agent_http.launcher.saying import say

__all__ = ["MemoryLimit"]

_EVERY_SECONDS = 1.0
_AGAIN_SECONDS = 0.05  # A killed process takes a moment to give its memory back.


class MemoryLimit:
    """`most_bytes` 0 is none. Above it processes are killed, the largest first, and the CLI only when none
    else is left or it is too large by itself: so a command fails, and the agent can go on."""

    def __init__(self, cli: int, most_bytes: int) -> None:
        self._cli = cli
        self._most_bytes = most_bytes
        self._next = time.monotonic() + _EVERY_SECONDS

    def seconds_until_next(self) -> float | None:
        """None when there is nothing to hold."""
        return max(0.0, self._next - time.monotonic()) if self._most_bytes else None

    def hold(self) -> None:
        if not self._most_bytes or time.monotonic() < self._next:
            return
        sizes = {pid: held_bytes(pid) for pid in descendants()}
        too_much = sum(sizes.values()) > self._most_bytes
        if too_much:
            self._kill(sizes)
        self._next = time.monotonic() + (_AGAIN_SECONDS if too_much else _EVERY_SECONDS)

    def _kill(self, sizes: dict[int, int]) -> None:
        others = [pid for pid in sizes if pid != self._cli]
        alone = not others or sizes.get(self._cli, 0) > self._most_bytes
        largest = self._cli if alone else max(others, key=sizes.__getitem__)
        kill(largest, SIGKILL)
        say(
            f"killed process {largest} of {sizes[largest] // 2**20} MiB: "
            f"the session's limit of {self._most_bytes // 2**20} MiB of memory was reached"
        )
