"""What is left of a user's sessions is found by the user, whatever became of their rows."""
# ruff: noqa: ASYNC240 - what is tested here are files

import asyncio
import os
from collections.abc import AsyncIterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event
from uuid import uuid4

import pytest
from tests.service.runtime.conftest import make_session
from tests.waiting import until

from claude_agent_http.disk.opened import opened
from claude_agent_http.disk.owners import note_owner, remove_owned
from claude_agent_http.domain.errors import InvalidInputError, WorkspaceError
from claude_agent_http.domain.session import Session
from claude_agent_http.gateway import FixedModelAccess
from claude_agent_http.runtime import CliRuntimeFactory, RuntimeConfig
from claude_agent_http.runtime.folders import make_folders
from claude_agent_http.store import memory_store
from claude_agent_http.system import SystemClock
from claude_agent_http.system.ids import CountedIds

FILES = 20_000  # enough that nobody removes them between two looks


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / ".sessions"


@pytest.fixture
def factory(state: Path) -> CliRuntimeFactory:
    return CliRuntimeFactory(
        RuntimeConfig(state), memory_store(SystemClock()).transcripts, CountedIds(), FixedModelAccess({})
    )


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
    note_owner(state, "carol", "no-session")
    os.symlink("..", state / ".users" / "carol" / str(uuid4()))
    for user in ("alice", "carol"):
        await factory.forget_user(user)
    for user in ("..", "../..", ".", "", "a/b"):
        with pytest.raises(InvalidInputError):
            await factory.forget_user(user)
    assert (state / bobs.id / "home" / "secret").exists()
    assert os.listdir(state / ".users") == ["bob"]


@pytest.fixture
async def threads() -> AsyncIterator[Executor]:
    """In which all blocking work of this test is done."""
    with ThreadPoolExecutor() as executor:
        asyncio.get_running_loop().set_default_executor(executor)
        yield executor


@pytest.mark.parametrize("whole_user", [False, True])
async def test_who_is_cancelled_stops_within_a_folder_and_a_repeat_finishes_it(
    factory: CliRuntimeFactory, state: Path, threads: Executor, whole_user: bool
) -> None:
    session = left_by(state, "alice")
    forget = partial(factory.forget_user, "alice") if whole_user else partial(factory.forget, session)
    crowded = state / session.id / "home" / "node_modules"
    crowded.mkdir()
    for number in range(FILES):
        (crowded / str(number)).touch()
    with opened(crowded) as inside:
        forgetting = asyncio.create_task(forget())
        await until(lambda: len(os.listdir(inside)) < FILES)
        forgetting.cancel()
        await asyncio.gather(forgetting, return_exceptions=True)
        threads.shutdown()  # what was begun is over
        assert os.listdir(inside)

    assert (state / ".users" / "alice" / session.id).exists()
    remove_owned(state, "alice", Event())
    assert names(state) == {".users"}
