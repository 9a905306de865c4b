"""What the CLI itself keeps of a conversation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from claude_agent_http.domain.lease import Lease

__all__ = ["TranscriptEntry", "TranscriptKey", "TranscriptStore"]


@dataclass(frozen=True, slots=True)
class TranscriptKey:
    """Names one transcript: the session's own (`subpath` ""), or one of its subagents'."""

    project_key: str
    session_id: str
    subpath: str = ""


TranscriptEntry = Mapping[str, Any]


class TranscriptStore(Protocol):
    """The CLI's own conversation files, kept entry by entry (opaque JSON objects)."""

    async def append(
        self, key: TranscriptKey, entries: Sequence[TranscriptEntry], *, lease: Lease | None = None
    ) -> None:
        """Entries with a `uuid` that is stored already under this key are left out; others always append.

        Raises LeaseLostError when the `lease`, if given, is not the session's any more; StorageError.
        """
        ...

    async def rewind(self, key: TranscriptKey, uuid: str, *, lease: Lease) -> bool:
        """Remove the entry of this uuid and all that came after it under the key; False when it is not there.

        Raises LeaseLostError, StorageError.
        """
        ...

    async def load(self, key: TranscriptKey) -> list[dict[str, Any]] | None:
        """All entries in append order, or None when nothing was ever stored under the key."""
        ...

    async def subpaths(self, project_key: str, session_id: str) -> list[str]:
        """The non-empty subpaths stored for the session."""
        ...

    async def sessions(self, project_key: str) -> list[tuple[str, int]]:
        """(session id, time of the last append in Unix milliseconds) of every main transcript."""
        ...

    async def delete(self, key: TranscriptKey) -> None:
        """With subpath "": the session's transcript and all its subagents'; else just that one."""
        ...
