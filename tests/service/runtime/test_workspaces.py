"""Where a session may work: inside its user's folder, whatever the path looks like."""
# ruff: noqa: ASYNC240 - what is tested here are files

from pathlib import Path

import pytest

from claude_agent_http.domain.errors import InvalidInputError, WorkspaceError
from claude_agent_http.runtime import FolderWorkspaces
from claude_agent_http.runtime.workspaces import checked_parts


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
