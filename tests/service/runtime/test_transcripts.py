"""Transcripts: the SDK's contracts over every store, and conversations that go on on another disk."""

import asyncio
import itertools
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from claude_agent_sdk import SessionKey, SessionStore, SessionStoreEntry
from claude_agent_sdk.testing import run_session_store_conformance
from tests.service.runtime.conftest import REPORT, DemoModel, Runtimes, bash, run_turn, script

from claude_agent_http.domain.errors import RuntimeDiedError, StorageError
from claude_agent_http.ports import Store, TranscriptEntry, TranscriptKey, TranscriptStore
from claude_agent_http.runtime.folders import make_folders
from claude_agent_http.runtime.transcripts import PROJECT_KEY, SdkTranscripts, lay_out
from claude_agent_http.store import memory_store, postgres_store, sqlite_store
from claude_agent_http.system import SystemClock

ID = "0b8ce4b6-7a5e-4b0e-9c53-1c4f1b2a3d4e"


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_every_store_keeps_the_sdks_contracts(kind: str, tmp_path: Path) -> None:
    clock = SystemClock()
    store = memory_store(clock) if kind == "memory" else sqlite_store(tmp_path / "service.db", clock)
    await _check_contracts(store)


async def test_postgres_keeps_the_sdks_contracts(postgres_dsn: str) -> None:
    url = postgres_dsn.replace("postgresql+asyncpg:", "postgresql:")
    await _check_contracts(postgres_store(url, SystemClock()))


async def _check_contracts(store: Store) -> None:
    await store.open()
    numbers = itertools.count()
    try:
        await run_session_store_conformance(lambda: sdk_store(Apart(store.transcripts, next(numbers))))
    finally:
        await store.close()


def sdk_store(store: TranscriptStore, project_key: str | None = None) -> SessionStore:
    return cast("SessionStore", SdkTranscripts(store, project_key))


class Apart:
    """A part of a store that sees nothing of the other parts: each contract wants an empty one."""

    def __init__(self, store: TranscriptStore, number: int) -> None:
        self._store = store
        self._prefix = f"{number}:"

    async def append(self, key: TranscriptKey, entries: Sequence[TranscriptEntry]) -> None:
        await self._store.append(self._own(key), entries)

    async def load(self, key: TranscriptKey) -> list[dict[str, Any]] | None:
        return await self._store.load(self._own(key))

    async def subpaths(self, project_key: str, session_id: str) -> list[str]:
        return await self._store.subpaths(self._prefix + project_key, session_id)

    async def sessions(self, project_key: str) -> list[tuple[str, int]]:
        return await self._store.sessions(self._prefix + project_key)

    async def delete(self, key: TranscriptKey) -> None:
        await self._store.delete(self._own(key))

    def _own(self, key: TranscriptKey) -> TranscriptKey:
        return replace(key, project_key=self._prefix + key.project_key)


async def test_the_layout_on_disk_is_the_clis(folder: Path) -> None:
    store = memory_store(SystemClock()).transcripts
    sdk = sdk_store(store, PROJECT_KEY)
    entries: list[Any] = [{"type": "user", "uuid": "u1", "message": {"content": "hällo"}}]
    await sdk.append({"project_key": "-elsewhere", "session_id": ID}, entries)
    agent: list[Any] = [{"type": "agent_metadata", "agentType": "general"}, {"type": "user", "uuid": "u2"}]
    await sdk.append({"project_key": "-elsewhere", "session_id": ID, "subpath": "subagents/agent-1"}, agent)
    await sdk.append({"project_key": "-elsewhere", "session_id": ID, "subpath": "../../evil"}, agent)
    folders = make_folders(folder / "state", ID)
    stale = folders.projects / "old" / f"{ID}.jsonl"
    stale.parent.mkdir(parents=True)
    stale.write_text("{}\n")
    work = folder / "work"
    work.mkdir()

    assert await lay_out(store, folders, str(work), ID)

    found = {str(path.relative_to(folders.projects)): path for path in folders.projects.rglob("*.json*")}
    project = str(work).replace("/", "-").replace("_", "-")
    assert set(found) == {
        f"{project}/{ID}.jsonl",
        f"{project}/{ID}/subagents/agent-1.jsonl",
        f"{project}/{ID}/subagents/agent-1.meta.json",
    }
    assert found[f"{project}/{ID}/subagents/agent-1.meta.json"].read_text() == '{"agentType":"general"}\n'
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in found.values())


@pytest.mark.parametrize("entries", [[], [{"type": "queue-operation"}, {"type": "mode", "mode": "x"}]])
async def test_without_a_conversation_there_is_nothing_to_resume(folder: Path, entries: list[Any]) -> None:
    store = memory_store(SystemClock()).transcripts
    await sdk_store(store, PROJECT_KEY).append({"project_key": "x", "session_id": ID}, entries)
    assert not await lay_out(store, make_folders(folder, ID), str(folder), ID)


@pytest.mark.tier("cli")
async def test_a_conversation_goes_on_on_another_disk_and_in_a_moved_workspace(
    runtimes: Runtimes, folder: Path, demo: DemoModel
) -> None:
    async with runtimes.open() as runtime:
        await run_turn(runtime, script(bash("echo first-turn"), REPORT))
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    moved = Runtimes(demo, elsewhere, runtimes.transcripts)
    moved.session = replace(runtimes.session, cwd=str(moved.workspace))
    async with moved.open() as runtime:
        turn = await run_turn(runtime, script({"text": "{{history}}"}))
    assert turn.text == '["(script)"]'
    assert turn.end.error is None
    assert turn.end.usage is not None
    assert demo.requests("{{history}}")[-1]["messages"] > 3


@pytest.mark.tier("cli", "linux")
async def test_a_conversation_cut_in_the_middle_of_a_tool_goes_on(runtimes: Runtimes) -> None:
    async with runtimes.open() as runtime, asyncio.TaskGroup() as tasks:
        tasks.create_task(_kill_once(runtimes.workspace / "started", runtime.pid))
        with pytest.raises(RuntimeDiedError):
            await run_turn(runtime, script(bash("touch started; sleep 60")))
    stored = await runtimes.transcripts.load(TranscriptKey(PROJECT_KEY, runtimes.session.id)) or []
    assert any("sleep 60" in str(entry) for entry in stored if entry["type"] == "assistant")
    async with runtimes.open() as runtime:
        turn = await run_turn(runtime, "what did I say")
    assert "1. (script)" in turn.text


async def _kill_once(started: Path, pid: int | None) -> None:
    assert pid is not None
    async with asyncio.timeout(20):
        while not os.path.exists(started):  # noqa: ASYNC110, ASYNC240 - another program's file
            await asyncio.sleep(0.01)
    os.kill(pid, signal.SIGKILL)


class _Faulty:
    """A memory store that takes nothing while `away`."""

    def __init__(self) -> None:
        self.away = False
        self._store = memory_store(SystemClock()).transcripts
        self.load = self._store.load

    async def append(self, key: TranscriptKey, entries: Sequence[TranscriptEntry]) -> None:
        if self.away:
            raise StorageError("the database is away")
        await self._store.append(key, entries)


async def test_what_could_not_be_stored_is_stored_before_anything_newer() -> None:
    store = _Faulty()
    transcripts = SdkTranscripts(cast("TranscriptStore", store))
    key: SessionKey = {"project_key": "p", "session_id": "s"}
    lines: list[SessionStoreEntry] = [{"type": "user", "uuid": str(number)} for number in range(4)]
    await transcripts.append(key, lines[:1])
    store.away = True
    await transcripts.append(key, lines[1:2])
    await transcripts.append(key, lines[2:3])
    assert await transcripts.load(key) == lines[:1]
    store.away = False
    await transcripts.append(key, lines[3:])
    assert await transcripts.load(key) == lines


async def test_what_is_owed_at_the_end_is_settled() -> None:
    store = _Faulty()
    transcripts = SdkTranscripts(cast("TranscriptStore", store))
    key: SessionKey = {"project_key": "p", "session_id": "s"}
    store.away = True
    await transcripts.append(key, [{"type": "user"}])
    store.away = False
    await transcripts.settle()
    assert await transcripts.load(key) == [{"type": "user"}]
