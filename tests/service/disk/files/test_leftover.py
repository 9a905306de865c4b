"""What an upload leaves when its service is killed does not stay."""

import os
import time
from pathlib import Path
from uuid import uuid4

import pytest
from tests.service.disk.files.asked import paths, pieces

from claude_agent_http.disk import FolderUsage
from claude_agent_http.domain.errors import InvalidInputError


def leave(folder: Path, age: float, name: str | None = None) -> Path:
    """What a service that was killed so many seconds ago left there."""
    folder.mkdir(parents=True, exist_ok=True)
    left = folder / (name or f".upload-{uuid4().hex}")
    left.write_bytes(b"x" * 100_000)
    os.utime(left, (time.time() - age,) * 2)
    return left


async def test_an_upload_removes_what_is_left_beside_it(files, session, work):
    dead, young = leave(work / "a", 3700), leave(work / "a", 3500)
    elsewhere = leave(work / "b", 3700)
    await files.write(session, "a/new", pieces(b"x"), overwrite=True)
    assert sorted((work / "a").iterdir()) == sorted([young, work / "a" / "new"])
    assert (dead.exists(), elsewhere.exists()) == (False, True)


async def test_a_list_removes_what_it_would_show(files, session, work):
    dead, young = leave(work / "a", 3700), leave(work / "a" / "b", 0)
    assert await paths(files, session) == ["a", "a/b", f"a/b/{young.name}"]
    assert (dead.exists(), young.exists()) == (False, True)


async def test_a_count_of_the_users_files_removes_it(base, work):
    leave(work / "deep" / "er", 3700)
    gauge = FolderUsage(base, base / ".sessions")
    usage = await gauge.used("alice")
    gauge.close()
    assert usage is not None
    assert usage.bytes < 100_000
    assert list((work / "deep" / "er").iterdir()) == []


@pytest.mark.parametrize("name", [".upload-", ".upload-notes", f".upload-{'g' * 32}", f"x.upload-{'0' * 32}"])
async def test_files_of_other_names_stay(files, session, work, name):
    kept = leave(work, 10_000, name)
    await files.write(session, "new", pieces(b"x"), overwrite=True)
    assert kept.name in await paths(files, session)
    assert kept.exists()


async def test_what_only_has_such_a_name_stays(files, session, work):
    name = f".upload-{'0' * 32}"
    leave(work / name, 10_000, "inside")
    os.utime(work / name, (0, 0))
    os.symlink("nowhere", work / f".upload-{'1' * 32}")
    os.utime(work / f".upload-{'1' * 32}", (0, 0), follow_symlinks=False)
    await files.write(session, "new", pieces(b"x"), overwrite=True)
    assert await paths(files, session) == [name, f"{name}/inside", f".upload-{'1' * 32}", "new"]


async def test_nobody_uploads_to_such_a_name(files, session, work):
    with pytest.raises(InvalidInputError, match="uploads have while they are under way"):
        await files.write(session, f"a/.upload-{'0' * 32}", pieces(b"x"), overwrite=True)
    assert list(work.iterdir()) == []
