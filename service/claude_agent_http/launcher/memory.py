"""A limit to what the processes of a session hold of memory together: the kernel sets it for one process, and
for a group only to who may make groups."""

import time

from claude_agent_http.launcher.kernel import SIGKILL
from claude_agent_http.launcher.processes import descendants, kill
from claude_agent_http.launcher.saying import say
from claude_agent_http.launcher.sizes import divided_bytes, held_bytes

__all__ = ["MemoryLimit"]

_EVERY_SECONDS = 1.0
_AGAIN_SECONDS = 0.05  # A killed process takes a moment to give its memory back.
_CLOSE_LOOK_SECONDS = 0.25
_MOST_LOOKED_AT = 4 * 2**30  # Of one process: the kernel would be busy with it for longer than that.
_PART_OF_TIME = 10  # Of all time, one part at the most goes into looking.


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
        began = time.monotonic()
        if not self._most_bytes or began < self._next:
            return
        sizes = {pid: held_bytes(pid) for pid in descendants()}
        too_much = sum(sizes.values()) > self._most_bytes and not self._fits_when_divided(sizes)
        if too_much:
            self._kill(sizes)
        now = time.monotonic()
        pause = max(_EVERY_SECONDS, (now - began) * _PART_OF_TIME)
        self._next = now + (_AGAIN_SECONDS if too_much else pause)

    def _fits_when_divided(self, sizes: dict[int, int]) -> bool:
        """Whether what processes share, counted once, makes the difference. Where that is not found out in
        time, for the launcher has more to do, it does not: to be many and large is to be too large.

        Puts what it finds in `sizes`."""
        until = time.monotonic() + _CLOSE_LOOK_SECONDS
        for pid in sorted(sizes, key=sizes.__getitem__, reverse=True):
            if time.monotonic() > until:
                return False
            if sizes[pid] <= _MOST_LOOKED_AT:
                sizes[pid] = _divided(pid, sizes[pid])
            if sum(sizes.values()) <= self._most_bytes:
                return True
        return False

    def _kill(self, sizes: dict[int, int]) -> None:
        others = [pid for pid in sizes if pid != self._cli]
        alone = not others or sizes.get(self._cli, 0) > self._most_bytes
        largest = self._cli if alone else max(others, key=sizes.__getitem__)
        kill(largest, SIGKILL)
        say(
            f"killed process {largest} of {sizes[largest] // 2**20} MiB: "
            f"the session's limit of {self._most_bytes // 2**20} MiB of memory was reached"
        )


def _divided(pid: int, held: int) -> int:
    try:
        return min(held, divided_bytes(pid))
    except OSError:
        return held
