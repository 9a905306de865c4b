"""The memory of a process and of all below it; pages that they share count once, where the kernel tells.

It tells so by walking a process's page tables: 2 ms for 200 MB, at the cost of that process's own faults. So
the walk is made seldom, and in between the resident size, a mere counter, says how much was added."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["TreeMemory", "resident_bytes"]

_OLD_SECONDS = 60.0
_GROWN = 0.1
_WALKS_SPREAD_OVER = 12
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# Of /proc/PID/stat, counted from behind the name.
_PARENT, _RESIDENT = 1, 21


@dataclass(frozen=True, slots=True)
class _Walk:
    """What a process held, in bytes, when its page tables were last walked."""

    at: float
    resident: int
    proportional: int


class TreeMemory:
    """Linux only. A process's own figure is never older than about a minute, or 10 % of its size."""

    def __init__(
        self, root: int, proc: Path = Path("/proc"), now: Callable[[], float] = time.monotonic
    ) -> None:
        self._root = root
        self._proc = proc
        self._now = now
        self._walks: dict[int, _Walk] = {}

    def measure(self) -> int:
        """What the tree holds now. Blocks for some milliseconds."""
        resident = self._resident()
        self._walks = {pid: walk for pid, walk in self._walks.items() if pid in resident}
        for pid in [*self._grown(resident), *self._oldest()]:
            self._walks[pid] = _Walk(self._now(), resident[pid], self._proportional(pid, resident[pid]))
        return sum(self._estimate(pid, size) for pid, size in resident.items())

    def _estimate(self, pid: int, resident: int) -> int:
        walk = self._walks[pid]
        return max(0, walk.proportional + resident - walk.resident)

    def _grown(self, resident: dict[int, int]) -> list[int]:
        """Processes that are new, or have grown or shrunk by much."""
        return [
            pid
            for pid, size in resident.items()
            if (walk := self._walks.get(pid)) is None or abs(size - walk.resident) > _GROWN * walk.resident
        ]

    def _oldest(self) -> list[int]:
        """A few at a time of those walked long ago, so that no one sample bears them all."""
        before = self._now() - _OLD_SECONDS
        old = sorted((walk.at, pid) for pid, walk in self._walks.items() if walk.at <= before)
        return [pid for _, pid in old[: 1 + len(self._walks) // _WALKS_SPREAD_OVER]]

    def _resident(self) -> dict[int, int]:
        """Resident bytes of the root and of every process below it; one short file each says it all."""
        sizes: dict[int, int] = {}
        children: dict[int, list[int]] = {}
        for pid in map(int, filter(str.isdecimal, os.listdir(self._proc))):
            if (fields := self._stat(pid)) is not None:
                sizes[pid] = int(fields[_RESIDENT]) * _PAGE_BYTES
                children.setdefault(int(fields[_PARENT]), []).append(pid)
        tree = [self._root]
        for pid in tree:
            tree += children.get(pid, [])
        return {pid: sizes[pid] for pid in tree if pid in sizes}

    def _stat(self, pid: int) -> list[bytes] | None:
        """None for a process that is gone."""
        try:
            # Not by Path: this is done for every process of the machine.
            with open(f"{self._proc}/{pid}/stat", "rb") as file:
                text = file.read()
        except OSError:
            return None
        return text[text.rindex(b")") + 1 :].split()

    def _proportional(self, pid: int, resident: int) -> int:
        """The resident size where the kernel does not tell, as of a process that is gone."""
        try:
            rollup = (self._proc / str(pid) / "smaps_rollup").read_text(encoding="ascii")
            return next(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line[:4] == "Pss:")
        except (OSError, StopIteration):
            return resident


def resident_bytes(root: int) -> int:
    """The same tree where there is no /proc: shared pages count once a process."""
    process = psutil.Process(root)
    return sum(_resident(one) for one in [process, *process.children(recursive=True)])


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
