"""The processes below the calling one. Linux tells of them in files; elsewhere there seem to be none."""

import os

__all__ = ["children", "descendants", "kill", "task_count", "tasks"]


def children() -> list[int]:
    """Of the calling process's main thread, which also gets every orphan; dead ones until they are reaped."""
    me = os.getpid()
    return _started_by(me, str(me))


def descendants() -> list[int]:
    """Every process below the calling one, parents first; one that starts or ends meanwhile may be
    missing."""
    found = children()
    for pid in found:
        for task in tasks(pid):
            found += _started_by(pid, task)
    return found


def task_count() -> int:
    """Processes and threads below the calling one."""
    return sum(len(tasks(pid)) for pid in descendants())


def tasks(pid: int) -> list[str]:
    """The threads of a process, by their pids."""
    try:
        return os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []


def kill(pid: int, number: int) -> None:
    """A negative `pid` names a process group. Raises nothing for one that is gone."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _started_by(pid: int, task: str) -> list[int]:
    try:
        with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
            return [int(child) for child in file.read().split()]
    except OSError:
        if task != str(pid) or os.path.exists("/proc/thread-self/children"):
            return []
    # A kernel without CONFIG_PROC_CHILDREN, or no Linux.
    names = os.listdir("/proc") if os.path.isdir("/proc") else []
    return [int(name) for name in names if name.isdecimal() and _parent_of(name) == pid]


def _parent_of(pid: str) -> int:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0
