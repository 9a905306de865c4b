"""An agent may write in its own folder: a link there leads the service to nothing of another's."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest
from claude_agent_sdk import project_key_for_directory

from claude_agent_http.disk.owners import note_owner
from claude_agent_http.ports import TranscriptKey, TranscriptStore
from claude_agent_http.runtime.folders import (
    SessionFolders,
    empty_run,
    forget_conversation,
    make_folders,
    write_private,
)
from claude_agent_http.runtime.transcripts import PROJECT_KEY, lay_out
from claude_agent_http.store import memory_store
from claude_agent_http.system import SystemClock

ID = "0b8ce4b6-7a5e-4b0e-9c53-1c4f1b2a3d4e"
CWD = "/work"
PROJECT = project_key_for_directory(CWD)
# Below each of these names the service would find something of the victim's to overwrite or remove.
THEIRS = (f"projects/{PROJECT}/{ID}.jsonl", f"{PROJECT}/{ID}.jsonl", f"{ID}.jsonl", "launch", "run/launch")
LINKED = (".", "home", "tmp", "run", "config", "config/projects", f"config/projects/{PROJECT}")


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    for name in THEIRS:
        path = tmp_path / "victim" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "victim"


@pytest.fixture
async def store() -> TranscriptStore:
    stored = memory_store(SystemClock()).transcripts
    entry = {"type": "user", "uuid": "a"}
    await stored.append(TranscriptKey(PROJECT_KEY, ID), [entry])
    await stored.append(TranscriptKey(PROJECT_KEY, ID, "subagents/agent-1"), [entry])
    return stored


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_text() for path in files}


async def start_and_end(state: Path, store: TranscriptStore) -> SessionFolders:
    forget_conversation(state, ID)
    folders = make_folders(state, ID)
    assert await lay_out(store, folders, CWD, ID)
    write_private(folders.launch_file, "a secret")
    assert folders.launch_file.read_text() == "a secret"
    empty_run(folders)
    return folders


@pytest.mark.parametrize("linked", LINKED)
async def test_a_link_in_a_folders_place_is_replaced(
    tmp_path: Path, victim: Path, store: TranscriptStore, linked: str
) -> None:
    place = make_folders(tmp_path / "state", ID).root / linked
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(victim)

    folders = await start_and_end(tmp_path / "state", store)

    assert contents(victim) == {name: name for name in THEIRS}
    assert not place.is_symlink()
    assert set(contents(folders.root)) == {
        f"config/projects/{PROJECT}/{ID}.jsonl",
        f"config/projects/{PROJECT}/{ID}/subagents/agent-1.jsonl",
    }


@pytest.mark.parametrize("link", [os.symlink, os.link])
async def test_a_link_in_a_files_place_is_replaced(
    tmp_path: Path, victim: Path, store: TranscriptStore, link: object
) -> None:
    folders = make_folders(tmp_path / "state", ID)
    project = folders.projects / PROJECT
    project.mkdir(parents=True)
    assert callable(link)
    for place in (project / f"{ID}.jsonl", folders.run / "launch"):
        link(victim / "launch", place)
    write_private(folders.launch_file, "a secret")
    await start_and_end(tmp_path / "state", store)
    assert contents(victim) == {name: name for name in THEIRS}


def test_a_start_file_is_not_written_through_a_link(tmp_path: Path, victim: Path) -> None:
    folders = make_folders(tmp_path / "state", ID)
    folders.run.rmdir()
    folders.run.symlink_to(victim)
    with pytest.raises(OSError, match="run"):
        write_private(folders.launch_file, "a secret")
    empty_run(folders)
    assert contents(victim) == {name: name for name in THEIRS}


async def test_a_pipe_in_the_transcripts_place_holds_nothing_up(
    tmp_path: Path, store: TranscriptStore
) -> None:
    project = make_folders(tmp_path / "state", ID).projects / "any"
    project.mkdir(parents=True)
    os.mkfifo(project / f"{ID}.jsonl")
    async with asyncio.timeout(20):
        await start_and_end(tmp_path / "state", store)


def test_whose_a_session_is_is_not_written_through_a_link(tmp_path: Path, victim: Path) -> None:
    owners = tmp_path / "state" / ".users"
    owners.mkdir(parents=True)
    (owners / "alice").symlink_to(victim)
    note_owner(tmp_path / "state", "alice", ID)
    assert contents(victim) == {name: name for name in THEIRS}
    assert (owners / "alice" / ID).is_file()
