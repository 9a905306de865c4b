"""What a tree of processes holds, told by a /proc of the test's own, and by real processes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from claude_agent_http.system.tree_memory import TreeMemory, resident_bytes

MIB = 1024 * 1024
PAGE = os.sysconf("SC_PAGE_SIZE")


class Processes:
    """A folder that looks like /proc, and the time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.time = 0.0

    def set(self, pid: int, *, parent: int, resident: int, proportional: int | None) -> None:
        """Sizes in MiB; a proportional size of None is not told."""
        place = self.folder / str(pid)
        place.mkdir(exist_ok=True)
        fields = ["S", str(parent), *["0"] * 19, str(resident * MIB // PAGE), "0"]
        (place / "stat").write_text(f"{pid} (a ) b (c) {' '.join(fields)}\n")
        if proportional is not None:
            (place / "smaps_rollup").write_text(
                f"Rss: 1 kB\nPss:  {proportional * 1024} kB\nPss_Dirty: 9 kB\n"
            )

    def memory(self, root: int = 10) -> TreeMemory:
        return TreeMemory(root, self.folder, lambda: self.time)


@pytest.fixture
def processes(tmp_path: Path) -> Processes:
    (tmp_path / "meminfo").write_text("no process")
    made = Processes(tmp_path)
    made.set(10, parent=1, resident=100, proportional=80)
    return made


def mib(memory: TreeMemory) -> int:
    return memory.measure() // MIB


def test_all_below_the_root_count_and_no_others(processes: Processes) -> None:
    processes.set(11, parent=10, resident=50, proportional=30)
    processes.set(9, parent=11, resident=50, proportional=40)
    processes.set(12, parent=1, resident=500, proportional=400)
    assert mib(processes.memory()) == 80 + 30 + 40


def test_the_resident_size_counts_where_no_other_is_told(processes: Processes) -> None:
    processes.set(11, parent=10, resident=50, proportional=None)
    assert mib(processes.memory()) == 80 + 50


def test_a_process_that_ended_counts_no_more(processes: Processes) -> None:
    processes.set(11, parent=10, resident=50, proportional=30)
    memory = processes.memory()
    memory.measure()
    (processes.folder / "11" / "stat").unlink()
    assert mib(memory) == 80


def test_a_little_growth_is_added_without_another_walk(processes: Processes) -> None:
    memory = processes.memory()
    memory.measure()
    processes.set(10, parent=1, resident=109, proportional=1)
    assert mib(memory) == 89


@pytest.mark.parametrize("resident", [111, 89])
def test_a_process_that_changed_much_is_walked_again(resident: int, processes: Processes) -> None:
    memory = processes.memory()
    memory.measure()
    processes.set(10, parent=1, resident=resident, proportional=70)
    assert mib(memory) == 70


def test_old_walks_are_made_again_a_few_at_a_time(processes: Processes) -> None:
    for pid in range(11, 34):
        processes.set(pid, parent=10, resident=100, proportional=80)
    memory = processes.memory()
    memory.measure()
    for pid in range(10, 34):
        processes.set(pid, parent=10 if pid > 10 else 1, resident=100, proportional=0)
    processes.time = 59
    assert mib(memory) == 24 * 80
    processes.time = 61
    assert [mib(memory) for _ in range(9)] == [left * 80 for left in (21, 18, 15, 12, 9, 6, 3, 0, 0)]


@pytest.mark.tier("linux")
def test_growth_of_a_real_child_is_seen() -> None:
    with hungry() as child:
        memory = TreeMemory(child.pid)
        before = memory.measure()
        child.stdin.write(b"\n")
        child.stdin.flush()
        child.stdout.readline()
        assert 60 * MIB <= memory.measure() - before <= 90 * MIB


def test_without_proc_the_resident_sizes_are_added_up() -> None:
    with hungry() as child:
        alone = resident_bytes(child.pid)
        child.stdin.write(b"\n")
        child.stdin.flush()
        child.stdout.readline()
        assert resident_bytes(child.pid) - alone >= 60 * MIB


@contextmanager
def hungry() -> Iterator["subprocess.Popen[bytes]"]:
    """A shell whose child takes 64 MiB when it is given a line, and then says so.

    A tree of its own: what the process of the tests holds changes as its garbage is collected.
    """
    code = "print(flush=True); input(); held = bytearray(64 * 2**20); print(flush=True); input()"
    with subprocess.Popen(
        ["/bin/sh", "-c", '"$0" -c "$1"; :', sys.executable, code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        child.stdout.readline()
        yield child
        child.stdin.write(b"\n")
