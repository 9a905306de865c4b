"""The machine under the benchmark: what it is, and what processes use of it."""

import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

__all__ = ["Usage", "bare_clis", "clean_environment", "environment", "tree", "usage"]

_KEPT = ("PATH", "HOME", "TMPDIR", "LANG", "TZ", "LD_LIBRARY_PATH")
_PACKAGES = ("claude-agent-sdk", "fastapi", "uvicorn", "sqlalchemy")


class Usage:
    """What processes use together: resident and proportional MB (10^6 bytes), CPU seconds so far."""

    def __init__(self, processes: Iterable[psutil.Process]) -> None:
        self.rss_mb = self.pss_mb = self.cpu_seconds = 0.0
        for process in processes:
            self._add(process)

    def _add(self, process: psutil.Process) -> None:
        try:
            times = process.cpu_times()
            rss = process.memory_info().rss / 1e6
            pss = _pss_mb(process.pid)
        except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            return
        self.cpu_seconds += times.user + times.system
        self.rss_mb += rss
        self.pss_mb += rss if pss is None else pss


def usage(pid: int) -> Usage:
    """Of one process, without its children."""
    return Usage([psutil.Process(pid)])


def tree(pid: int) -> Usage:
    """Of every descendant of a process, without itself."""
    return Usage(psutil.Process(pid).children(recursive=True))


def bare_clis() -> Usage:
    """Of the CLIs of this process's own clients: its children but for the service and the demo model."""
    return Usage(child for child in psutil.Process().children() if child.name() == "claude")


def clean_environment() -> None:
    """Leave of this process's environment only what says where things are: no key, proxy or setting of the
    user's reaches either side."""
    for name in set(os.environ) - set(_KEPT):
        del os.environ[name]


def environment(folder: Path, *, quick: bool) -> dict[str, Any]:
    """What a figure depends on. `folder` is where the databases lie."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": quick,
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "load_before": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "file_system": _file_system(folder),
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _file_system(folder: Path) -> str:
    path = str(folder.resolve())
    mounts = [part for part in psutil.disk_partitions(all=True) if path.startswith(part.mountpoint)]
    return max(mounts, key=lambda part: len(part.mountpoint)).fstype if mounts else "unknown"


def _pss_mb(pid: int) -> float | None:
    """Pages that processes share count in part for each; None where the system does not tell."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except PermissionError:
        return None
    kib = next((int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")), None)
    return None if kib is None else kib * 1024 / 1e6
