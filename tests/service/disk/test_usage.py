"""What a user takes of the disk, however the files are laid out."""

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from claude_agent_http.disk import FolderUsage
from claude_agent_http.disk import usage as disk_usage
from claude_agent_http.disk.owners import note_owner
from claude_agent_http.domain.disk import DiskUsage

MB = 1_000_000
SESSION = "11111111-1111-4111-8111-111111111111"


def write(path: Path, size: int = MB) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))
    return path


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "users" / ".sessions").mkdir(parents=True)
    return tmp_path / "users"


@pytest.fixture
def gauge(base: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FolderUsage]:
    monkeypatch.setattr(disk_usage, "_FRESH_SECONDS", 0)
    made = FolderUsage(base, base / ".sessions")
    yield made
    made.close()


async def used_mb(gauge: FolderUsage, user: str = "alice") -> float:
    usage = await gauge.used(user)
    assert usage is not None
    assert usage.endless is None
    return round(usage.bytes / MB, 1)


async def test_every_workspace_and_what_agents_keep_elsewhere(base, gauge):
    assert await used_mb(gauge) == 0
    write(base / "alice" / "a" / "b" / "c.bin")
    write(base / "alice" / ".hidden", 2 * MB)
    note_owner(base / ".sessions", "alice", SESSION)
    write(base / ".sessions" / SESSION / "home" / "cache.bin", 3 * MB)
    write(base / "bob" / "x.bin", 5 * MB)
    assert await used_mb(gauge) == pytest.approx(6, abs=0.1)
    assert await used_mb(gauge, "bob") == pytest.approx(5, abs=0.1)


async def test_links_are_not_followed_and_names_of_one_file_counted_once(base, gauge):
    elsewhere = write(base.parent / "elsewhere" / "big.bin", 9 * MB)
    real = write(base / "alice" / "real.bin")
    (base / "alice" / "folder").symlink_to(elsewhere.parent)
    (base / "alice" / "file").symlink_to(elsewhere)
    (base / "alice" / "again.bin").hardlink_to(real)
    (base / "alice" / "loop").symlink_to(base / "alice")
    assert await used_mb(gauge) == pytest.approx(1, abs=0.1)


async def test_a_user_whose_folder_is_a_link_takes_nothing_of_anothers(base, gauge):
    write(base / "bob" / "x.bin")
    (base / "alice").symlink_to(base / "bob")
    usage = await gauge.used("alice")
    assert usage is None or usage.bytes == 0


async def test_sparse_files_count_by_what_is_in_them(base, gauge):
    (base / "alice").mkdir()
    with (base / "alice" / "sparse").open("wb") as file:
        file.truncate(10_000 * MB)
    assert await used_mb(gauge) < 1


async def test_a_folder_that_is_closed_hides_nothing(base, gauge):
    closed = write(base / "alice" / "closed" / "big.bin").parent
    closed.chmod(0)
    assert await used_mb(gauge) == pytest.approx(1, abs=0.1)


async def test_pipes_and_sockets_hang_nothing(base, gauge):
    (base / "alice").mkdir()
    os.mkfifo(base / "alice" / "pipe")
    assert await used_mb(gauge) < 1


@pytest.mark.parametrize(
    ("limit", "what"), [("_MOST_ENTRIES", "more than 2 files"), ("_MOST_DEPTH", "deeper")]
)
async def test_what_nobody_counts_is_too_much(base, gauge, monkeypatch, limit, what):
    monkeypatch.setattr(disk_usage, limit, 2)
    write(base / "alice" / "a" / "b" / "c" / "d" / "e.bin")
    usage = await gauge.used("alice")
    assert usage is not None
    assert what in (usage.endless or "")


async def test_deep_nesting_is_no_way_out(base, gauge):
    (base / "alice").mkdir()
    folder = os.open(base / "alice", os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d" * 100, dir_fd=folder)
        inner = os.open("d" * 100, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(folder)
    usage = await gauge.used("alice")
    assert usage is not None
    assert "nested deeper than 100" in (usage.endless or "")


async def test_nobody_waits_for_a_slow_disk(base, gauge, monkeypatch):
    """The loop goes on, who asks gets what was known, and the count that goes on is one for all."""
    write(base / "alice" / "a.bin")
    known = await gauge.used("alice")
    free, counts = threading.Event(), []

    def slow(self):
        counts.append(1)
        free.wait(5)
        return DiskUsage(7)

    monkeypatch.setattr(disk_usage._Count, "run", slow)
    monkeypatch.setattr(disk_usage, "_WAIT_SECONDS", 0.05)
    assert list(await asyncio.gather(gauge.used("alice"), gauge.used("alice"))) == [known, known]
    assert await gauge.used("bob") is None
    free.set()
    monkeypatch.setattr(disk_usage, "_WAIT_SECONDS", 5)
    assert (await gauge.used("alice")) == DiskUsage(7)
    assert len(counts) <= 3


async def test_a_count_is_kept_for_a_moment(base, gauge, monkeypatch):
    monkeypatch.setattr(disk_usage, "_FRESH_SECONDS", 60)
    write(base / "alice" / "a.bin")
    first = await gauge.used("alice")
    write(base / "alice" / "b.bin")
    assert await gauge.used("alice") == first
    assert await gauge.used("alice", anew=True) != first
