"""The SDK's session store over ours, and a stored conversation laid out on disk as the CLI left it."""

import asyncio
import json
from collections import deque
from collections.abc import Iterable, Mapping
from functools import partial
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any, cast

import structlog
from claude_agent_sdk import SessionKey, SessionStoreEntry, project_key_for_directory
from claude_agent_sdk.types import SessionListSubkeysKey, SessionStoreListEntry

from claude_agent_http.disk.opened import created, made
from claude_agent_http.disk.stoppable import in_thread
from claude_agent_http.domain.errors import LeaseLostError, StorageError
from claude_agent_http.domain.lease import Lease
from claude_agent_http.ports import TranscriptEntry, TranscriptKey, TranscriptStore
from claude_agent_http.runtime.folders import SessionFolders, forget_conversation
from claude_agent_http.runtime.unstored import unstored

__all__ = ["PROJECT_KEY", "SdkTranscripts", "lay_out"]

PROJECT_KEY = "agent"
"""Under which every transcript of the service is stored."""

_log = structlog.get_logger(__name__)
_STORE_SECONDS = 10.0
_MOST_OWED_BYTES = 64_000_000
_GATHER_SECONDS = 0.02
_CONVERSATION = frozenset({"user", "assistant"})
_METADATA = "agent_metadata"


class SdkTranscripts:
    """A `SessionStore` of the SDK. `project_key` stands in for the SDK's, made of the workspace's path: a
    conversation must be found again when its workspace has moved. None keeps what the SDK says.

    An append is only accepted: the SDK would hold each result back for it. What comes shortly after goes
    with it, and all is stored in the background in order; `settle` waits for that. What cannot be stored
    now is owed and stored before anything newer: a conversation with a hole resumes without all that came
    after the hole. The debt stays small, because a store that is away takes no new message either; but an
    agent can write to its CLI's output as fast as it is read. What is told beyond 64 MB of debt is left, with
    all that follows, where the CLI has it too: on the disk, for the next start to store (`unstored.py`).
    Under a `lease` that was lost nothing is owed: the conversation goes on elsewhere.
    """

    def __init__(
        self, store: TranscriptStore, project_key: str | None = None, lease: Lease | None = None
    ) -> None:
        self.lease = lease
        self._store = store
        self._project_key = project_key
        self._owed: deque[tuple[TranscriptKey, SessionStoreEntry, int]] = deque()
        self._owed_bytes = 0
        self._left = False
        self._storing: asyncio.Task[None] | None = None
        self._due: asyncio.TimerHandle | None = None

    async def append(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        """Of another session than the lease's nothing is kept: an agent can write to its CLI's output."""
        if self.lease is not None and key["session_id"] != self.lease.session_id:
            _log.warning("an agent told entries of another session", session_id=self.lease.session_id)
            return
        if self._left:
            return
        sizes = [len(json.dumps(entry)) for entry in entries]
        if self._owed_bytes + sum(sizes) > _MOST_OWED_BYTES:
            self._left = True
            _log.warning(
                "an agent tells more than can be stored; the rest is left on its disk until its next start",
                session_id=key["session_id"],
            )
            return
        self._owed.extend((self._key(key), entry, size) for entry, size in zip(entries, sizes, strict=True))
        self._owed_bytes += sum(sizes)
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(_GATHER_SECONDS, self._ensure_storing)

    async def hand_over(self) -> None:
        """Return when what was appended is stored, or will be no later than what the store is given next."""
        under_way = self._storing is not None and not self._storing.done()
        if under_way or len({key for key, _, _ in self._owed}) > 1:
            await self.settle()
        elif self._owed:
            self._storing = self._ensure_storing()
            await asyncio.sleep(0)  # The task's first step gives the store what is owed.

    async def settle(self) -> None:
        """Return when what was appended is stored, as far as the store takes it."""
        if self._owed:
            await asyncio.shield(self._ensure_storing())

    def _ensure_storing(self) -> asyncio.Task[None]:
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if self._storing is None or self._storing.done():
            self._storing = asyncio.create_task(self._store_owed(), name="transcript")
        return self._storing

    async def _store_owed(self) -> None:
        try:
            async with asyncio.timeout(_STORE_SECONDS):
                while self._owed:
                    key, entries = self._oldest()
                    await self._store.append(key, entries, lease=self.lease)
                    for _ in entries:
                        self._owed_bytes -= self._owed.popleft()[2]
        except LeaseLostError:
            self._owed.clear()
            self._owed_bytes = 0
        except (StorageError, TimeoutError) as error:
            _log.warning(
                "transcript not stored yet",
                session_id=self._owed[0][0].session_id,
                entries=len(self._owed),
                reason=str(error) or "it took too long",
            )

    def _oldest(self) -> tuple[TranscriptKey, list[TranscriptEntry]]:
        """The oldest entries that go under one key."""
        key = self._owed[0][0]
        same = takewhile(lambda owed: owed[0] == key, self._owed)
        return key, [cast("TranscriptEntry", entry) for _, entry, _ in same]

    async def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        await self.settle()
        return cast("list[SessionStoreEntry] | None", await self._store.load(self._key(key)))

    async def list_sessions(self, project_key: str) -> list[SessionStoreListEntry]:
        await self.settle()
        found = await self._store.sessions(self._project_key or project_key)
        return [{"session_id": session_id, "mtime": mtime} for session_id, mtime in found]

    async def delete(self, key: SessionKey) -> None:
        await self.settle()
        await self._store.delete(self._key(key))

    async def list_subkeys(self, key: SessionListSubkeysKey) -> list[str]:
        await self.settle()
        return await self._store.subpaths(self._project_key or key["project_key"], key["session_id"])

    def _key(self, key: SessionKey) -> TranscriptKey:
        return TranscriptKey(
            self._project_key or key["project_key"], key["session_id"], key.get("subpath") or ""
        )


async def lay_out(
    store: TranscriptStore, folders: SessionFolders, cwd: str, session_id: str, lease: Lease | None = None
) -> bool:
    """Put the stored conversation where the CLI looks for it; False when there is none to resume.

    What an earlier start left there is removed first: the store is the truth, and a CLI refuses the id of
    a conversation that it finds on disk. But what of it the store never got is stored before."""
    key = TranscriptKey(PROJECT_KEY, session_id)
    entries = await store.load(key) or []
    if missing := await asyncio.to_thread(unstored, folders, session_id, entries):
        lost = "storing what the agent process wrote and the store never got"
        _log.info(lost, session_id=session_id, entries=len(missing))
        await store.append(key, missing, lease=lease)
        entries += missing
    await in_thread(partial(forget_conversation, folders.state_dir, session_id))
    if not any(entry.get("type") in _CONVERSATION for entry in entries):
        return False
    folder = folders.projects / project_key_for_directory(cwd)
    await asyncio.to_thread(_write_lines, folders, folder / f"{session_id}.jsonl", entries)
    for subpath in await store.subpaths(key.project_key, session_id):
        if _is_safe(subpath):
            of_agent = await store.load(TranscriptKey(key.project_key, session_id, subpath)) or []
            path = folder / session_id / f"{subpath}.jsonl"
            await asyncio.to_thread(_write_agent, folders, path, of_agent)
    return True


def _write_agent(folders: SessionFolders, path: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    """A subagent's metadata is kept among its entries, and lies beside its transcript on disk."""
    lines = [entry for entry in entries if entry.get("type") != _METADATA]
    metadata = [entry for entry in entries if entry.get("type") == _METADATA]
    if lines:
        _write_lines(folders, path, lines)
    if metadata:
        fields = {name: value for name, value in metadata[-1].items() if name != "type"}
        _write_lines(folders, path.with_suffix(".meta.json"), [fields])


def _write_lines(folders: SessionFolders, path: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    *parents, name = path.relative_to(folders.state_dir).parts
    with made(parents, folders.state_dir) as folder, created(name, folder) as file:
        for entry in entries:
            file.write(json.dumps(entry, separators=(",", ":")) + "\n")


def _is_safe(subpath: str) -> bool:
    parts = PurePosixPath(subpath).parts
    return bool(parts) and not subpath.startswith("/") and "\0" not in subpath and ".." not in parts
