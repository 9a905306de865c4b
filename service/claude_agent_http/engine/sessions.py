"""Creating, closing and deleting sessions. Creating one calls no model and starts no process by itself."""

import hashlib
import json
import uuid
from dataclasses import dataclass, field, replace
from typing import Any

from claude_agent_http.domain.errors import InvalidInputError
from claude_agent_http.domain.session import Session
from claude_agent_http.ports import Clock, Ids, SessionStore, Workspaces


@dataclass(frozen=True, slots=True)
class NewSession:
    """What a caller asks for. `session_id`, a UUID, and `idempotency_key` each make a repeat harmless."""

    user_id: str
    subdir: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    session_id: str | None = None
    idempotency_key: str | None = None

    @property
    def may_be_a_repeat(self) -> bool:
        return self.session_id is not None or self.idempotency_key is not None


class SessionCreator:
    def __init__(self, sessions: SessionStore, workspaces: Workspaces, clock: Clock, ids: Ids) -> None:
        self._sessions = sessions
        self._workspaces = workspaces
        self._clock = clock
        self._ids = ids

    async def create(self, new: NewSession) -> Session:
        """Raises InvalidInputError, WorkspaceError, SessionConflictError, StorageError."""
        now = self._clock.now()
        asked = Session(
            id=_canonical(new.session_id) if new.session_id else self._ids.session_id(),
            user_id=new.user_id,
            subdir=new.subdir,
            cwd="",
            created_at=now,
            last_active_at=now,
            creation_digest=_digest(new),
            idempotency_key=new.idempotency_key,
            metadata=new.metadata,
        )
        # Looked up first: a repeat is none of the workspace's business, and a conflict makes no folder.
        if new.may_be_a_repeat and (stored := await self._sessions.find_repeat(asked)) is not None:
            return stored
        cwd = await self._workspaces.resolve(new.user_id, new.subdir)
        return await self._sessions.create(replace(asked, cwd=cwd))


def _canonical(session_id: str) -> str:
    try:
        return str(uuid.UUID(session_id))
    except ValueError:
        raise InvalidInputError("session_id", "must be a UUID, such as one from `uuidgen`") from None


def _digest(new: NewSession) -> str:
    asked = [new.user_id, new.subdir, new.metadata, new.session_id]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
