"""Erasing a user: all that is theirs goes, wherever it is, and nothing of anybody else."""
# ruff: noqa: ASYNC240 - what is looked at here are files

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs
from tests.service.engine.cluster import Cluster, followed
from tests.service.engine.harness import Harness, OtherSessions
from tests.waiting import until

from claude_agent_http.domain.errors import (
    BusyError,
    DrainingError,
    FilesElsewhereError,
    SessionNotFoundError,
    StorageError,
    WorkspaceError,
)
from claude_agent_http.domain.event import EventType, Followed, SessionDeleted
from claude_agent_http.domain.lease import Lease
from claude_agent_http.engine import Erased, NewSession
from claude_agent_http.ports import SessionStore, TranscriptKey
from claude_agent_http.runtime.fake import Hang, Say
from claude_agent_http.store import memory_store, sqlite_store
from claude_agent_http.system.clock import SystemClock


class Hooked:
    """The sessions of a store; `before_delete` is called with the id of each session that is deleted."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.before_delete: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def delete(self, session_id: str, *, lease: Lease | None = None) -> None:
        if self.before_delete is not None:
            await self.before_delete(session_id)
        await self._inner.delete(session_id, lease=lease)


@pytest.fixture
def store() -> OtherSessions:
    memory = memory_store(SystemClock())
    return OtherSessions(memory, cast("SessionStore", Hooked(memory.sessions)))


async def test_everything_of_the_user_goes_and_nothing_of_another(harness: Harness, tmp_path: Path) -> None:
    engine, users = harness.engine, tmp_path / "users"
    mine = [await engine.create(NewSession("alice", subdir)) for subdir in (None, "a", "a/b")]
    bobs = await harness.session("bob")
    for session in (*mine, bobs):
        await harness.say(session, "remember me")
        (Path(session.cwd) / "file").write_text("private")
        key = TranscriptKey("agent", session.id)
        await harness.store.transcripts.append(key, [{"type": "user", "uuid": "1"}])
    before = await harness.log(bobs)

    assert await engine.erase("alice") == Erased(sessions=3, files=3)

    assert await engine.list_ids(None, limit=10) == [bobs.id]
    assert [path.name for path in users.iterdir()] == ["bob"]
    assert set(harness.runtimes.alive) == {bobs.id}
    assert set(harness.runtimes.forgotten) == {session.id for session in mine}
    assert await harness.store.transcripts.sessions("agent") != []
    for session in mine:
        assert await harness.store.events.read(session.id) == []
        assert await harness.store.transcripts.load(TranscriptKey("agent", session.id)) is None
    assert await harness.log(bobs) == before
    assert (users / "bob" / "file").read_text() == "private"
    assert await engine.erase("alice") == Erased(0, 0)
    assert await engine.erase("nobody") == Erased(0, 0)


async def test_files_of_sessions_that_were_deleted_before_go_too(harness: Harness, tmp_path: Path) -> None:
    """As after a crash between the last session and the files."""
    session = await harness.session()
    (Path(session.cwd) / "file").touch()
    await harness.engine.delete(session.id)
    assert (tmp_path / "users" / "alice" / "file").exists()
    assert await harness.engine.erase("alice") == Erased(sessions=0, files=1)
    assert list((tmp_path / "users").iterdir()) == []
    assert harness.runtimes.forgotten_users == ["alice"]


async def test_a_running_turn_is_ended_and_its_readers_hear_of_the_deletion(harness: Harness) -> None:
    harness.runtimes.play = lambda _: (Say("well"), Hang(deaf=True))
    session = await harness.session()
    seen: list[Followed] = []
    reading = asyncio.create_task(followed(harness.engine, session, deltas=False, seen=seen))
    turn = await harness.turn(session, "hang")
    await harness.until_said(session)
    assert (await harness.engine.erase("alice")).sessions == 1
    assert (await asyncio.wait_for(asyncio.shield(turn.ended), 5)).error is not None
    await asyncio.wait_for(reading, 5)
    assert isinstance(seen[-1], SessionDeleted)
    assert harness.runtimes.alive == {}


async def test_sessions_made_meanwhile_go_too(make_harness, store) -> None:
    async with make_harness(store=store) as harness:
        left = [1, 2, 3]

        async def create_one_more(_: str) -> None:
            if left:
                left.pop()
                await harness.session()

        store.sessions.before_delete = create_one_more
        await harness.session()
        assert (await harness.engine.erase("alice")).sessions == 4
        assert await harness.engine.list_ids(None, limit=10) == []


async def test_who_creates_sessions_all_the_time_is_told_to_stop(make_harness, store) -> None:
    async with make_harness(store=store) as harness:
        store.sessions.before_delete = lambda _: harness.session()
        await harness.session()
        with pytest.raises(BusyError, match="alice"):
            await harness.engine.erase("alice")
        store.sessions.before_delete = None
        assert (await harness.engine.erase("alice")).sessions == 1


async def test_a_session_that_cannot_be_deleted_keeps_its_files_until_a_repeat(
    make_harness, store, tmp_path: Path
) -> None:
    async with make_harness(store=store) as harness:
        first, second = await harness.session(), await harness.session()
        (Path(first.cwd) / "file").touch()

        async def fail(session_id: str) -> None:
            if session_id == first.id:
                raise StorageError("the database is away")

        store.sessions.before_delete = fail
        with pytest.raises(StorageError):
            await harness.engine.erase("alice")
        assert await harness.engine.list_ids(None, limit=10) == [first.id]
        assert (tmp_path / "users" / "alice" / "file").exists()
        with pytest.raises(SessionNotFoundError):
            await harness.engine.get(second.id)
        store.sessions.before_delete = None
        assert await harness.engine.erase("alice") == Erased(sessions=1, files=1)


async def test_what_an_agent_left_and_cannot_be_removed_is_no_success(harness: Harness) -> None:
    await harness.session()
    harness.runtimes.forget_failure = WorkspaceError("not all could be removed")
    with pytest.raises(WorkspaceError):
        await harness.engine.erase("alice")
    harness.runtimes.forget_failure = None
    assert await harness.engine.erase("alice") == Erased(0, 0)
    assert harness.runtimes.forgotten_users == ["alice"]


async def test_a_replica_that_drains_erases_nobody(harness: Harness) -> None:
    session = await harness.session()
    (Path(session.cwd) / "file").touch()
    await harness.engine.stop(0)
    with pytest.raises(DrainingError):
        await harness.engine.erase("alice")
    assert (Path(session.cwd) / "file").exists()


async def test_two_requests_at_once_both_succeed(cluster: Cluster) -> None:
    a, b = await cluster.start(), await cluster.start()
    for number in range(20):
        session = await a.engine.create(NewSession("alice", str(number)))
        (Path(session.cwd) / "file").touch()
    erased = await asyncio.gather(*(one.engine.erase("alice") for one in (a, b, a, b)))
    assert sum(one.files for one in erased) == 20
    assert list((cluster.folder / "users").iterdir()) == []
    assert await a.engine.list_ids(None, limit=10) == []


@pytest.mark.parametrize("deaf", [False, True], ids=["heard", "polled"])
async def test_a_turn_that_runs_on_another_replica_is_ended_first(cluster: Cluster, deaf: bool) -> None:
    a, b = await cluster.start(), await cluster.start()
    await until(lambda: a.engine.stats().peers == 1 == b.engine.stats().peers)
    cluster.store.bus.deaf = deaf
    cluster.plays["hang"] = (Say("well"), Hang(deaf=True))
    session, bobs = [await a.engine.create(NewSession(user)) for user in ("alice", "bob")]
    turn = await a.engine.send(session.id, "hang")
    await cluster.until_type(session, EventType.AGENT_MESSAGE)
    (Path(session.cwd) / "file").touch()
    assert await b.engine.erase("alice") == Erased(sessions=1, files=1)
    assert a.runtimes.alive == {}
    assert (await asyncio.wait_for(asyncio.shield(turn.ended), 5)).error is not None
    assert [path.name for path in (cluster.folder / "users").iterdir()] == ["bob"]
    assert (await a.say(bobs, "hi")).error is None


async def test_a_replica_without_the_users_files_erases_nothing_and_says_so(cluster: Cluster) -> None:
    a, b = await cluster.start(), await cluster.start(folder="another disk")
    session = await a.engine.create(NewSession("alice"))
    await a.say(session, "hi")
    (Path(session.cwd) / "file").touch()
    with pytest.raises(FilesElsewhereError, match=session.id):
        await b.engine.erase("alice")
    assert (await a.say(session, "still here?")).error is None
    assert await a.engine.erase("alice") == Erased(sessions=1, files=1)


async def test_a_session_whose_folder_was_removed_by_hand_is_deleted_first(cluster: Cluster) -> None:
    a = await cluster.start()
    session = await a.engine.create(NewSession("alice", "work"))
    await a.say(session, "hi")
    (Path(session.cwd).parent / "file").touch()
    Path(session.cwd).rmdir()
    with pytest.raises(FilesElsewhereError, match=session.id):
        await a.engine.erase("alice")
    await a.engine.delete(session.id)
    assert await a.engine.erase("alice") == Erased(sessions=0, files=1)


async def test_an_erased_user_is_in_no_file_of_the_database_any_more(make_harness, tmp_path: Path) -> None:
    store = sqlite_store(tmp_path / "db" / "agents.db", SystemClock())
    await store.open()
    async with make_harness(store=store) as harness:
        await harness.say(await harness.session("alice"), "a secret of mine")
        assert b"a secret of mine" in _content(tmp_path / "db")
        await harness.engine.erase("alice")
        assert b"a secret of mine" not in _content(tmp_path / "db")
    await store.close()


def _content(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


async def test_a_database_log_that_others_read_is_told(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def is_read() -> bool:
        return False

    monkeypatch.setattr(harness.store, "scrub", is_read)
    with capture_logs() as logged:
        assert await harness.engine.erase("alice") == Erased(0, 0)
    (line,) = [line for line in logged if line["log_level"] == "warning"]
    assert line["user_id"] == "alice"
    assert "still in the database's log" in line["event"]
