"""Every error that travels between layers; a foreign error becomes one of these where it enters."""

from claude_agent_http.domain.telemetry import Refusal


class ClaudeAgentError(Exception):
    """Base. The message is for the caller: it says what is wrong and what to do, and holds no secret."""


class SessionNotFoundError(ClaudeAgentError):
    def __init__(self, session_id: str) -> None:
        super().__init__(f"session {session_id!r} does not exist; create one with POST /api/v1/sessions")
        self.session_id = session_id


class SessionConflictError(ClaudeAgentError):
    """The id or idempotency key was used before with other values."""


class SessionClosedError(ClaudeAgentError):
    def __init__(self, session_id: str) -> None:
        super().__init__(
            f"session {session_id!r} is closed; reopen it with POST /api/v1/sessions/{session_id}/resume"
        )
        self.session_id = session_id


class InvalidInputError(ClaudeAgentError):
    """A value that the service cannot accept; `field` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class BusyError(ClaudeAgentError):
    """A limit is reached for now, `refusal` says which; the same request may work after `retry_after` s."""

    def __init__(self, message: str, *, retry_after: int, refusal: Refusal = Refusal.BUSY) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.refusal = refusal


class SessionBusyError(BusyError):
    """A turn runs in the session."""

    def __init__(self) -> None:
        super().__init__("the session is busy with a turn; wait for it or interrupt it", retry_after=1)


class DrainingError(BusyError):
    """The replica is shutting down and takes no new work."""

    def __init__(self) -> None:
        message = "the service is shutting down; try again in a few seconds"
        super().__init__(message, retry_after=5, refusal=Refusal.DRAINING)


class StorageError(ClaudeAgentError):
    """The database or the disk did not do what was asked; nothing of the request was stored."""


class StorageFullError(StorageError):
    """No space left on the device that holds the database or the workspaces."""


class LeaseLostError(ClaudeAgentError):
    """Another replica may run the session now, or does; nothing was stored."""

    def __init__(self, session_id: str) -> None:
        super().__init__(f"session {session_id!r} was taken over by another replica of the service")
        self.session_id = session_id


class ServiceLockedError(StorageError):
    """Another service process owns this database."""


class ListenError(ClaudeAgentError):
    """A port that the service is to listen on cannot be had."""


class WorkspaceError(ClaudeAgentError):
    """The session's folder cannot be made or used."""


class FilesElsewhereError(WorkspaceError):
    """The files of a session that has run are not on this replica's disk."""

    def __init__(self, session_id: str, cwd: str) -> None:
        super().__init__(
            f"the folder {cwd} of session {session_id!r} is not on the disk of the replica that was asked; "
            "nothing was erased. Ask the replica that has it; if it was removed, DELETE that session first"
        )


class RuntimeStartError(ClaudeAgentError):
    """The agent process could not be started."""


class RuntimeDiedError(ClaudeAgentError):
    """The agent process ended, or its output made no sense, in the middle of a turn."""


class TurnTimeoutError(ClaudeAgentError):
    """The caller's time limit passed; the turn was interrupted."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"the turn took longer than the timeout of {seconds:g} s and was interrupted; "
            "the session can be used again"
        )
