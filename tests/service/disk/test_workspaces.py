"""Where a session may work: inside its user's folder, whatever the path looks like."""
# ruff: noqa: ASYNC240 - what is tested here are files

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.waiting import until

from claude_agent_http.disk import FolderWorkspaces
from claude_agent_http.disk.workspaces import checked_parts
from claude_agent_http.domain.errors import InvalidInputError, WorkspaceError

NOBODY = 65534
DEEP = 3000


async def test_a_users_folder_is_made_for_that_user_alone(tmp_path: Path) -> None:
    path = Path(await FolderWorkspaces(tmp_path / "users").resolve("alice", None))
    assert path == tmp_path / "users" / "alice"
    assert path.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("subdir", "expected"),
    [
        ("a", "a"), ("a/b/c", "a/b/c"), ("a/", "a"), (".", ""), ("", ""), (None, ""),
        (".config/x", ".config/x"), ("项目 one", "项目 one"), ("a..b", "a..b"), ("x" * 200, "x" * 200),
    ],
)  # fmt: skip
async def test_subfolders_are_made(tmp_path: Path, subdir: str | None, expected: str) -> None:
    path = Path(await FolderWorkspaces(tmp_path).resolve("alice", subdir))
    assert path == tmp_path / "alice" / expected
    assert path.is_dir()
    assert await FolderWorkspaces(tmp_path).resolve("alice", subdir) == str(path)


@pytest.mark.parametrize(
    "subdir",
    [
        "..", "../bob", "a/../b", "a/..", "/etc", "//etc", "a//b", "./a", "a/./b", "a\\b", "..\\bob",
        "a\0b", "a\nb", "a\x7fb", "a\u200bb", "a\u202eb", "\u2024\u2024", "\u2025/bob", "\uff0e\uff0e/bob",
        "a\u2215b", "a\uff0fb", "a\u2044b", "a\uff3cb", "\u2026", "x" * 201, "a ", " a", "a.", "é" * 150,
        "\udc80",
    ],
)  # fmt: skip
async def test_tricks_are_refused_and_make_nothing(tmp_path: Path, subdir: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        await FolderWorkspaces(tmp_path).resolve("alice", subdir)
    assert caught.value.field == "subdir"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["..", "../bob", "/etc", "real", "."])
@pytest.mark.parametrize("subdir", ["link", "link/deeper", "real/link"])
async def test_a_link_on_the_way_is_refused(tmp_path: Path, target: str, subdir: str) -> None:
    (tmp_path / "bob").mkdir()
    (tmp_path / "alice" / "real").mkdir(parents=True)
    (tmp_path / "alice" / "real" / "link").symlink_to(target)
    (tmp_path / "alice" / "link").symlink_to(target)
    with pytest.raises(InvalidInputError):
        await FolderWorkspaces(tmp_path).resolve("alice", subdir)
    assert list((tmp_path / "bob").iterdir()) == []


async def test_a_users_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bob").mkdir()
    (tmp_path / "alice").symlink_to("bob")
    with pytest.raises(InvalidInputError):
        await FolderWorkspaces(tmp_path).resolve("alice", None)


async def test_a_base_that_is_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "base").symlink_to("disk")
    assert await FolderWorkspaces(tmp_path / "base").resolve("alice", "a") == str(tmp_path / "disk/alice/a")


async def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "alice").mkdir()
    (tmp_path / "alice" / "file").touch()
    with pytest.raises(InvalidInputError):
        await FolderWorkspaces(tmp_path).resolve("alice", "file")


async def test_a_missing_user_folder_is_not_made_unless_it_may_be(tmp_path: Path) -> None:
    workspaces = FolderWorkspaces(tmp_path, auto_create=False)
    with pytest.raises(WorkspaceError, match="does not exist"):
        await workspaces.resolve("alice", "a")
    (tmp_path / "alice").mkdir()
    assert await workspaces.resolve("alice", "a") == str(tmp_path / "alice" / "a")


async def test_a_base_that_is_no_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for base in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(WorkspaceError, match="cannot be used"):
            await FolderWorkspaces(base).resolve("alice", None)


async def test_a_base_that_is_missing_is_told_when_it_may_not_be_made(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="cannot be used"):
        await FolderWorkspaces(tmp_path / "none", auto_create=False).resolve("alice", None)


def test_the_parts_of_a_path() -> None:
    assert checked_parts("a/b") == ("a", "b")
    assert checked_parts(None) == ()


@pytest.fixture
def users() -> Iterator[Path]:
    """A base folder in which permissions count: whoever runs the tests, they are not root here."""
    folder = Path(tempfile.mkdtemp(prefix="users-"))
    was_root = os.geteuid() == 0
    if was_root:
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        if was_root:
            os.seteuid(0)
        shutil.rmtree(folder)


async def test_a_users_folder_is_erased_with_all_that_is_in_it_and_nobody_elses(users: Path) -> None:
    workspaces = FolderWorkspaces(users)
    for user, subdir in (("alice", None), ("alice", "a/b"), ("alicea", "a")):
        (Path(await workspaces.resolve(user, subdir)) / ".file").write_text("of alice?")
    assert await workspaces.erase("alice") == 2
    assert [path.name for path in users.iterdir()] == ["alicea"]
    assert (users / "alicea" / "a" / ".file").read_text() == "of alice?"
    assert await workspaces.erase("alice") == 0
    assert Path(await workspaces.resolve("alice", "a")).is_dir()


@pytest.mark.parametrize(
    "user", ["", ".", "..", "../bob", "a/b", "/etc", "a\0b", ".sessions", "a\\b", "\uff0e"]
)
async def test_tricks_with_the_user_reach_no_folder(tmp_path: Path, user: str) -> None:
    for folder in ("users/bob", "users/.sessions", "users/a/b", "bob"):
        (tmp_path / folder).mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    workspaces = FolderWorkspaces(tmp_path / "users")
    for attempt in (workspaces.erase(user), workspaces.resolve(user, None)):
        with pytest.raises(InvalidInputError) as caught:
            await attempt
        assert caught.value.field == "user_id"
    assert sorted(tmp_path.rglob("*")) == before


async def test_links_are_erased_and_what_they_lead_to_stays(users: Path) -> None:
    (users / "bob" / "folder").mkdir(parents=True)
    (users / "bob" / "file").touch()
    (users / "alice" / "deep").mkdir(parents=True)
    for number, target in enumerate(["../bob", "../../bob/file", "/etc", "nowhere", ".", str(users / "bob")]):
        (users / "alice" / f"link{number}").symlink_to(target)
        (users / "alice" / "deep" / f"link{number}").symlink_to(target)
    (users / "carol").symlink_to("bob")
    (users / "dave").write_text("a file in the place of a folder")
    workspaces = FolderWorkspaces(users)
    assert [await workspaces.erase(user) for user in ("alice", "carol", "dave")] == [12, 1, 1]
    assert sorted(str(path.relative_to(users)) for path in users.rglob("*")) == [
        "bob",
        "bob/file",
        "bob/folder",
    ]


async def test_folders_without_permissions_are_erased(users: Path) -> None:
    for mode in (0o000, 0o500, 0o300):
        folder = users / "alice" / f"top-{mode:o}" / "inner"
        (folder / "empty").mkdir(parents=True)
        (folder / "file").touch(mode=0o400)
        for closed in (folder / "empty", folder, folder.parent):
            closed.chmod(mode)
    (users / "alice").chmod(0)
    assert await FolderWorkspaces(users).erase("alice") == 3
    assert list(users.iterdir()) == []


@pytest.mark.tier("root")
async def test_what_cannot_be_erased_is_named_and_all_else_is_gone(users: Path) -> None:
    kept = users / "alice" / "a" / "b" / "kept"
    kept.mkdir(parents=True)
    (kept / "file").touch()
    for number in range(20):
        (users / "alice" / "a" / "b" / f"file{number}").touch()
    os.seteuid(0)
    os.chown(kept, 0, 0)
    os.seteuid(NOBODY)
    workspaces = FolderWorkspaces(users)
    for _ in range(2):
        with pytest.raises(WorkspaceError, match="alice") as caught:
            await workspaces.erase("alice")
        [kept] = users.rglob("kept")
        assert str(kept) in str(caught.value)
        assert [path for path in users.rglob("*") if path.is_file()] == [kept / "file"]
    os.seteuid(0)
    os.chown(kept, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    assert await workspaces.erase("alice") == 1
    assert list(users.iterdir()) == []


async def test_folders_nested_deeper_than_a_stack_are_erased(users: Path) -> None:
    """Deeper than Python may recurse, than a process may open files, and than a path may be long."""
    inner = os.open(users, os.O_RDONLY)
    for _ in range(DEEP):
        os.mkdir("d", dir_fd=inner)
        outer, inner = inner, os.open("d", os.O_RDONLY, dir_fd=inner)
        os.close(outer)
    os.close(os.open("file", os.O_CREAT, dir_fd=inner))
    os.close(inner)
    assert await FolderWorkspaces(users).erase("d") == 1
    assert list(users.iterdir()) == []


async def test_an_erasure_that_is_cancelled_stops_and_a_repeat_finishes_it(users: Path) -> None:
    workspaces = FolderWorkspaces(users)
    for number in range(100):
        folder = users / "alice" / str(number)
        folder.mkdir(parents=True)
        for file in range(50):
            (folder / str(file)).touch()
    erasing = asyncio.create_task(workspaces.erase("alice"))
    await until(lambda: len(os.listdir(users / "alice")) < 100)
    erasing.cancel()
    await asyncio.gather(erasing, return_exceptions=True)
    assert (users / "alice").exists()
    await workspaces.erase("alice")
    assert list(users.iterdir()) == []


async def test_two_may_erase_a_user_at_once(users: Path) -> None:
    for number in range(2000):
        folder = users / "alice" / str(number % 7) / str(number % 11) / str(number % 13)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file{number}").touch()
    counts = await asyncio.gather(*(FolderWorkspaces(users).erase("alice") for _ in range(2)))
    assert sum(counts) == 2000
    assert list(users.iterdir()) == []
