"""The SDK's session store over ours, and a stored conversation laid out on disk as the CLI left it."""

import asyncio
import json
import os
import shutil
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, cast

import structlog
from claude_agent_sdk import SessionKey, SessionStoreEntry, project_key_for_directory
from claude_agent_sdk.types import SessionListSubkeysKey, SessionStoreListEntry

from claude_agent_http.domain.errors import StorageError
from claude_agent_http.ports import TranscriptKey, TranscriptStore
from claude_agent_http.runtime.folders import SessionFolders

__all__ = ["PROJECT_KEY", "SdkTranscripts", "lay_out"]

PROJECT_KEY = "agent"
"""Under which every transcript of the service is stored."""


_log = structlog.get_logger(__name__)
_APPEND_SECONDS = 10.0
_CONVERSATION = frozenset({"user", "assistant"})
_METADATA = "agent_metadata"


class SdkTranscripts:
    """A `SessionStore` of the SDK. `project_key` stands in for the SDK's, made of the workspace's path: a
    conversation must be found again when its workspace has moved. None keeps what the SDK says.

    What cannot be stored now is owed and stored before anything newer: the SDK would drop it, and a
    conversation with a hole resumes without all that came after the hole. The debt stays small, because a
    store that is away takes no new message either.
    """

    def __init__(self, store: TranscriptStore, project_key: str | None = None) -> None:
        self._store = store
        self._project_key = project_key
        self._owed: deque[tuple[TranscriptKey, Sequence[Mapping[str, Any]]]] = deque()

    async def append(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        if entries:
            self._owed.append((self._key(key), cast("Sequence[Mapping[str, Any]]", entries)))
            await self.settle()

    async def settle(self) -> None:
        """Store what is owed, in order, as far as the store takes it."""
        try:
            # The SDK holds a closing CLI for as long as this takes.
            async with asyncio.timeout(_APPEND_SECONDS):
                while self._owed:
                    await self._store.append(*self._owed[0])
                    self._owed.popleft()
        except (StorageError, TimeoutError) as error:
            _log.warning("transcript not stored yet", appends=len(self._owed), reason=str(error))

    async def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        return cast("list[SessionStoreEntry] | None", await self._store.load(self._key(key)))

    async def list_sessions(self, project_key: str) -> list[SessionStoreListEntry]:
        found = await self._store.sessions(self._project_key or project_key)
        return [{"session_id": session_id, "mtime": mtime} for session_id, mtime in found]

    async def delete(self, key: SessionKey) -> None:
        await self._store.delete(self._key(key))

    async def list_subkeys(self, key: SessionListSubkeysKey) -> list[str]:
        return await self._store.subpaths(self._project_key or key["project_key"], key["session_id"])

    def _key(self, key: SessionKey) -> TranscriptKey:
        return TranscriptKey(
            self._project_key or key["project_key"], key["session_id"], key.get("subpath") or ""
        )


async def lay_out(store: TranscriptStore, folders: SessionFolders, cwd: str, session_id: str) -> bool:
    """Put the stored conversation where the CLI looks for it; False when there is none to resume.

    What an earlier start left there is removed first: the store is the truth, and a CLI refuses the id of
    a conversation that it finds on disk."""
    await asyncio.to_thread(shutil.rmtree, folders.projects, ignore_errors=True)
    key = TranscriptKey(PROJECT_KEY, session_id)
    entries = await store.load(key)
    if not entries or not any(entry.get("type") in _CONVERSATION for entry in entries):
        return False
    folder = folders.projects / project_key_for_directory(cwd)
    await asyncio.to_thread(_write_lines, folder / f"{session_id}.jsonl", entries)
    for subpath in await store.subpaths(key.project_key, session_id):
        if _is_safe(subpath):
            sub_entries = await store.load(TranscriptKey(key.project_key, session_id, subpath)) or []
            await asyncio.to_thread(_write_agent, folder / session_id / f"{subpath}.jsonl", sub_entries)
    return True


def _write_agent(path: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    """A subagent's metadata is kept among its entries, and lies beside its transcript on disk."""
    lines = [entry for entry in entries if entry.get("type") != _METADATA]
    metadata = [entry for entry in entries if entry.get("type") == _METADATA]
    if lines:
        _write_lines(path, lines)
    if metadata:
        fields = {name: value for name, value in metadata[-1].items() if name != "type"}
        _write_lines(path.with_suffix(".meta.json"), [fields])


def _write_lines(path: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        for entry in entries:
            file.write(json.dumps(entry, separators=(",", ":")) + "\n")


def _is_safe(subpath: str) -> bool:
    parts = PurePosixPath(subpath).parts
    return bool(parts) and not subpath.startswith("/") and "\0" not in subpath and ".." not in parts
