"""What is left of a user's sessions is found by the user, whatever became of their rows."""
# ruff: noqa: ASYNC240 - what is tested here are files

import os
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from tests.service.runtime.conftest import make_session

from claude_agent_http.domain.errors import InvalidInputError, WorkspaceError
from claude_agent_http.domain.session import Session
from claude_agent_http.runtime import CliRuntimeFactory, RuntimeConfig
from claude_agent_http.runtime.folders import make_folders
from claude_agent_http.runtime.owners import note_owner
from claude_agent_http.store import memory_store
from claude_agent_http.system import SystemClock
from claude_agent_http.system.ids import CountedIds


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / ".sessions"


@pytest.fixture
def factory(state: Path) -> CliRuntimeFactory:
    return CliRuntimeFactory(RuntimeConfig(state), memory_store(SystemClock()).transcripts, CountedIds())


def left_by(state: Path, user: str) -> Session:
    """A session whose runtime has run."""
    session = replace(make_session(state), user_id=user)
    note_owner(state, user, session.id)
    (make_folders(state, session.id).home / "secret").touch()
    return session


def names(state: Path) -> set[str]:
    return {str(path.relative_to(state)) for path in state.rglob("*")}


async def test_all_that_is_left_of_a_user_goes_and_nothing_of_another(
    factory: CliRuntimeFactory, state: Path
) -> None:
    bobs = left_by(state, "bob")
    before = names(state)
    sessions = [left_by(state, "alice") for _ in range(3)]
    await factory.forget(sessions[0])
    await factory.forget_user("alice")
    assert names(state) == before
    await factory.forget_user("alice")
    await factory.forget_user("nobody")
    assert names(state) == before
    await factory.forget_user("bob")
    assert bobs.id not in str(names(state))


async def test_what_could_not_be_forgotten_is_named_and_found_again(
    factory: CliRuntimeFactory, state: Path
) -> None:
    session, other = left_by(state, "alice"), left_by(state, "alice")
    moved = state.parent / "elsewhere"
    state.rename(moved)
    state.touch()  # as a disk that does not work
    await factory.forget(session)
    state.unlink()
    moved.rename(state)
    await factory.forget(other)
    assert (state / session.id).exists()
    await factory.forget_user("alice")
    assert names(state) == {".users"}


async def test_a_user_of_whom_something_stays_is_told(factory: CliRuntimeFactory, state: Path) -> None:
    state.mkdir()
    (state / ".users").touch()
    with pytest.raises(WorkspaceError, match=r"alice.*\.users"):
        await factory.forget_user("alice")


async def test_tricks_reach_nothing_of_another_user(factory: CliRuntimeFactory, state: Path) -> None:
    bobs = left_by(state, "bob")
    (state / ".users" / "alice").symlink_to("bob")
    note_owner(state, "carol", "../bob")
    note_owner(state, "carol", "link")
    os.symlink("..", state / ".users" / "carol" / str(uuid4()))
    for user in ("alice", "carol"):
        await factory.forget_user(user)
    for user in ("..", "../..", ".", "", "a/b"):
        with pytest.raises(InvalidInputError):
            await factory.forget_user(user)
    assert (state / bobs.id / "home" / "secret").exists()
    assert os.listdir(state / ".users") == ["bob"]
