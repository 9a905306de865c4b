"""Transcripts: the SDK's contracts over every store, and conversations that go on on another disk."""

import asyncio
import itertools
import json
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
from tests.waiting import until

from claude_agent_http.domain.errors import RuntimeDiedError, StorageError
from claude_agent_http.domain.lease import Lease
from claude_agent_http.ports import Store, TranscriptEntry, TranscriptKey, TranscriptStore
from claude_agent_http.runtime import transcripts as transcripts_module
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

    async def append(
        self, key: TranscriptKey, entries: Sequence[TranscriptEntry], *, lease: Lease | None = None
    ) -> None:
        await self._store.append(self._own(key), entries, lease=lease)

    async def rewind(self, key: TranscriptKey, uuid: str, *, lease: Lease) -> bool:
        return await self._store.rewind(self._own(key), uuid, lease=lease)

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
    sdk = SdkTranscripts(store, PROJECT_KEY)
    entries: list[Any] = [{"type": "user", "uuid": "u1", "message": {"content": "hällo"}}]
    await sdk.append({"project_key": "-elsewhere", "session_id": ID}, entries)
    agent: list[Any] = [{"type": "agent_metadata", "agentType": "general"}, {"type": "user", "uuid": "u2"}]
    await sdk.append({"project_key": "-elsewhere", "session_id": ID, "subpath": "subagents/agent-1"}, agent)
    await sdk.append({"project_key": "-elsewhere", "session_id": ID, "subpath": "../../evil"}, agent)
    await sdk.settle()
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
    await store.append(TranscriptKey(PROJECT_KEY, ID), entries)
    assert not await lay_out(store, make_folders(folder, ID), str(folder), ID)


@pytest.mark.tier("cli")
async def test_a_conversation_goes_on_on_another_disk_and_in_a_moved_workspace(
    runtimes: Runtimes, folder: Path, demo: DemoModel
) -> None:
    async with runtimes.open() as runtime:
        await run_turn(runtime, script(bash("echo first-turn"), REPORT))
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    moved = Runtimes(demo, elsewhere, runtimes.store)
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
        tasks.create_task(_kill_once_it_is_stored("sleep 60", runtimes, runtime.pid))
        with pytest.raises(RuntimeDiedError):
            await run_turn(runtime, script(bash("touch started; sleep 60")))
    assert (runtimes.workspace / "started").exists()
    async with runtimes.open() as runtime:
        turn = await run_turn(runtime, "what did I say")
    assert "1. (script)" in turn.text


async def _kill_once_it_is_stored(call: str, runtimes: Runtimes, pid: int | None) -> None:
    """The tool runs by then, and its use stands in the transcript: the order of these two is the CLI's."""
    assert pid is not None

    async def runs() -> bool:
        stored = await runtimes.transcripts.load(TranscriptKey(PROJECT_KEY, runtimes.session.id)) or []
        said = any(call in str(entry) for entry in stored if entry["type"] == "assistant")
        return said and (runtimes.workspace / "started").exists()

    await until(runs, 20)
    os.kill(pid, signal.SIGKILL)


class _Faulty:
    """A memory store that takes nothing while `away`."""

    def __init__(self) -> None:
        self.away = False
        self._store = memory_store(SystemClock()).transcripts
        self.load = self._store.load

    async def append(
        self, key: TranscriptKey, entries: Sequence[TranscriptEntry], *, lease: Lease | None = None
    ) -> None:
        if self.away:
            raise StorageError("the database is away")
        await self._store.append(key, entries, lease=lease)


async def test_what_could_not_be_stored_is_stored_before_anything_newer() -> None:
    store = _Faulty()
    transcripts = SdkTranscripts(cast("TranscriptStore", store))
    key: SessionKey = {"project_key": "p", "session_id": "s"}
    lines: list[SessionStoreEntry] = [{"type": "user", "uuid": str(number)} for number in range(4)]
    await transcripts.append(key, lines[:1])
    await transcripts.settle()
    store.away = True
    await transcripts.append(key, lines[1:2])
    await transcripts.settle()
    await transcripts.append(key, lines[2:3])
    assert await transcripts.load(key) == lines[:1]
    store.away = False
    await transcripts.append(key, lines[3:])
    assert await transcripts.load(key) == lines


async def test_no_more_is_owed_than_fits_and_what_follows_has_no_hole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transcripts_module, "_MOST_OWED_BYTES", 2_000)
    store = _Faulty()
    transcripts = SdkTranscripts(cast("TranscriptStore", store))
    key: SessionKey = {"project_key": "p", "session_id": "s"}
    small: list[SessionStoreEntry] = [{"type": "user", "uuid": str(number)} for number in range(3)]
    await transcripts.append(key, small[:1])
    await transcripts.append(key, [{"type": "user", "uuid": "large " + "x" * 2_000}])
    await transcripts.append(key, small[1:])
    assert await transcripts.load(key) == small[:1]


async def test_what_was_stored_is_owed_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcripts_module, "_MOST_OWED_BYTES", 2_000)
    transcripts = SdkTranscripts(cast("TranscriptStore", _Faulty()))
    key: SessionKey = {"project_key": "p", "session_id": "s"}
    lines: list[SessionStoreEntry] = [{"type": "user", "uuid": f"{number:1000}"} for number in range(9)]
    for line in lines:
        await transcripts.append(key, [line])
        await transcripts.settle()
    assert await transcripts.load(key) == lines


async def test_what_is_owed_at_the_end_is_settled() -> None:
    store = _Faulty()
    transcripts = SdkTranscripts(cast("TranscriptStore", store))
    key: SessionKey = {"project_key": "p", "session_id": "s"}
    store.away = True
    await transcripts.append(key, [{"type": "user"}])
    await transcripts.settle()
    store.away = False
    await transcripts.settle()
    assert await transcripts.load(key) == [{"type": "user"}]


async def test_an_append_does_not_wait_for_the_store_and_what_waits_is_stored_together() -> None:
    store = _Held()
    transcripts = SdkTranscripts(cast("TranscriptStore", store))
    main: SessionKey = {"project_key": "p", "session_id": "s"}
    sub: SessionKey = {"project_key": "p", "session_id": "s", "subpath": "subagents/agent-1"}
    async with asyncio.timeout(5):
        await transcripts.append(main, [{"type": "user", "uuid": "0"}])
        await store.begun.wait()
        for key, number in ((main, 1), (main, 2), (sub, 3), (main, 4)):
            await transcripts.append(key, [{"type": "user", "uuid": str(number)}])
        store.gate.set()
        await transcripts.settle()
    assert store.appends == [("", ["0"]), ("", ["1", "2"]), ("subagents/agent-1", ["3"]), ("", ["4"])]


async def test_what_is_handed_over_is_with_the_store_before_anything_else() -> None:
    store = _Held()
    transcripts = SdkTranscripts(cast("TranscriptStore", store))
    key: SessionKey = {"project_key": "p", "session_id": "s"}
    async with asyncio.timeout(5):
        for number in range(3):
            await transcripts.append(key, [{"type": "user", "uuid": str(number)}])
        assert store.appends == []
        await transcripts.hand_over()
        assert store.appends == [("", ["0", "1", "2"])]
        await transcripts.append(key, [{"type": "user", "uuid": "3"}])
        asyncio.get_running_loop().call_soon(store.gate.set)
        await transcripts.hand_over()
    assert store.appends == [("", ["0", "1", "2"]), ("", ["3"])]


async def test_all_conversations_of_a_turn_are_handed_over() -> None:
    store = _Held()
    transcripts = SdkTranscripts(cast("TranscriptStore", store))
    for subpath in ("", "subagents/agent-1"):
        key: SessionKey = {"project_key": "p", "session_id": "s", "subpath": subpath}
        await transcripts.append(key, [{"type": "user", "uuid": "0"}])
    asyncio.get_running_loop().call_soon(store.gate.set)
    await asyncio.wait_for(transcripts.hand_over(), 5)
    assert store.appends == [("", ["0"]), ("subagents/agent-1", ["0"])]


class _Held:
    """A store that tells what it was given and answers once `gate` is set."""

    def __init__(self) -> None:
        self.appends: list[tuple[str, list[str]]] = []
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()

    async def append(
        self, key: TranscriptKey, entries: Sequence[TranscriptEntry], *, lease: Lease | None = None
    ) -> None:
        self.appends.append((key.subpath, [entry["uuid"] for entry in entries]))
        self.begun.set()
        await self.gate.wait()


def _conversation(*uuids: str) -> list[dict[str, Any]]:
    return [{"type": "user", "uuid": uuid} if uuid else {"type": "mode"} for uuid in uuids]


@pytest.mark.parametrize(
    ("stored", "local", "found"),
    [
        (["a", "b"], ["a", "b", "c", "", "d"], ["c", "", "d"]),
        (["a", "b", ""], ["a", "b", "", "c"], ["", "c"]),
        (["a", "b"], ["a", "b", ""], []),
        (["a", "b"], ["a", "b"], []),
        (["a", "elsewhere"], ["a", "b"], []),
        ([], ["a"], []),
    ],
)
async def test_what_the_store_never_got_is_taken_from_the_disk(
    folder: Path, stored: list[str], local: list[str], found: list[str]
) -> None:
    folders = make_folders(folder / "state", ID)
    store = memory_store(SystemClock()).transcripts
    key = TranscriptKey(PROJECT_KEY, ID)
    await store.append(key, _conversation(*stored))
    _write(folders.projects / "any" / f"{ID}.jsonl", _conversation(*local))

    assert await lay_out(store, folders, str(folder), ID) is bool(stored)

    assert (await store.load(key) or []) == _conversation(*stored, *found)
    laid_out = [path.read_text().splitlines() for path in folders.projects.rglob("*.jsonl")]
    assert [len(lines) for lines in laid_out] == ([len(stored) + len(found)] if stored else [])


async def test_only_the_sessions_own_file_is_taken_from_the_disk(folder: Path) -> None:
    folders = make_folders(folder / "state", ID)
    store = memory_store(SystemClock()).transcripts
    key = TranscriptKey(PROJECT_KEY, ID)
    await store.append(key, _conversation("a"))
    _write(folder / "others" / f"{ID}.jsonl", _conversation("a", "secret"))
    folders.projects.mkdir(exist_ok=True)
    (folders.projects / "linked").symlink_to(folder / "others")
    await lay_out(store, folders, str(folder), ID)
    assert await store.load(key) == _conversation("a")


async def test_half_a_line_ends_what_is_taken_from_the_disk(folder: Path) -> None:
    folders = make_folders(folder / "state", ID)
    store = memory_store(SystemClock()).transcripts
    key = TranscriptKey(PROJECT_KEY, ID)
    await store.append(key, _conversation("a"))
    path = folders.projects / "any" / f"{ID}.jsonl"
    _write(path, _conversation("a", "b"))
    with path.open("a") as file:
        file.write('{"type": "user", "uu')
    await lay_out(store, folders, str(folder), ID)
    assert await store.load(key) == _conversation("a", "b")


def _write(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
