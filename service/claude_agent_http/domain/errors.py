"""Every error that travels between layers; a foreign error becomes one of these where it enters."""

from claude_agent_http.domain.rate import Standing
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


class NotAuthenticatedError(ClaudeAgentError):
    """It is not known who calls. The message never repeats what was shown."""


class CredentialMissingError(NotAuthenticatedError):
    def __init__(self) -> None:
        super().__init__(
            "the service must know who calls; send an API key or a token as `Authorization: Bearer ...`, or "
            "as `X-Api-Key`"
        )


class ApiKeyNotFoundError(ClaudeAgentError):
    def __init__(self, key_id: str) -> None:
        super().__init__(f"there is no API key {key_id!r}; the list of keys has their ids")


class IssuerError(ClaudeAgentError):
    """The issuer of tokens does not answer, or makes no sense; it may the next time."""


class ForbiddenError(ClaudeAgentError):
    """Who calls is known, and may not do this; `field` names the value that is not theirs, if it is one."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message if field is None else f"{field}: {message}")
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


class RateLimitedError(BusyError):
    """Whoever asks did so too often of late; `standing` says of which limit, and when it goes on."""

    def __init__(self, standing: Standing) -> None:
        policy = standing.policy
        message = (
            f"the limit of {policy.quota} {policy.name} in {policy.window} s is reached; "
            f"try again in {standing.wait} s"
        )
        super().__init__(message, retry_after=standing.wait, refusal=Refusal.RATE)
        self.standing = standing


class DrainingError(BusyError):
    """The replica is shutting down and takes no new work."""

    def __init__(self) -> None:
        message = "the service is shutting down; try again in a few seconds"
        super().__init__(message, retry_after=5, refusal=Refusal.DRAINING)


class BudgetReachedError(ClaudeAgentError):
    """The session has spent its budget, and no time gives it another."""


class DayBudgetReachedError(BusyError):
    """A day's budget is spent; the next UTC day has another."""

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message, retry_after=retry_after, refusal=Refusal.BUDGET)


class StorageError(ClaudeAgentError):
    """The database or the disk did not do what was asked; nothing of the request was stored."""


class StorageFullError(StorageError):
    """No space left on the device that holds the database or the workspaces."""


class QuotaExceededError(ClaudeAgentError):
    """The user takes more of the disk than a user may. The message says how to go on."""


class LeaseLostError(ClaudeAgentError):
    """Another replica may run the session now, or does; nothing was stored."""

    def __init__(self, session_id: str) -> None:
        super().__init__(f"session {session_id!r} was taken over by another replica of the service")
        self.session_id = session_id


class NotDeletedError(ClaudeAgentError):
    """The session stays for now; the same request may work in a few seconds."""

    def __init__(self, session_id: str, reason: str) -> None:
        super().__init__(f"session {session_id!r} was not deleted: {reason}; repeat the request")
        self.session_id = session_id


class ServiceLockedError(StorageError):
    """Another service process owns this database."""


class ListenError(ClaudeAgentError):
    """A port that the service is to listen on cannot be had."""


class IsolationError(ClaudeAgentError):
    """Agents cannot be held to what the settings require."""


class WorkspaceError(ClaudeAgentError):
    """The session's folder cannot be made or used."""


class FilesElsewhereError(WorkspaceError):
    """The files of a session are not on this replica's disk. `advice` says what was done and what to do."""

    def __init__(self, session_id: str, cwd: str, advice: str) -> None:
        super().__init__(
            f"the folder {cwd} of session {session_id!r} is not on the disk of the replica that was asked; "
            f"{advice}"
        )


class NoSuchFileError(ClaudeAgentError):
    """There is nothing at this path of the session's workspace."""

    def __init__(self, path: str) -> None:
        super().__init__(f"there is nothing at {path!r} in the session's folder; GET .../files lists what is")


class FileRefusedError(ClaudeAgentError):
    """What stands at this path of the workspace is not what may be read, written or removed so."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path!r} {reason}")


class FileExistsAlreadyError(ClaudeAgentError):
    """The file was not to be overwritten."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path!r} exists already; leave out If-None-Match to overwrite it")


class ApprovalNotFoundError(ClaudeAgentError):
    def __init__(self, approval_id: str) -> None:
        super().__init__(
            f"approval {approval_id!r} is none of this session's; GET .../approvals lists those that wait"
        )


class ApprovalConflictError(ClaudeAgentError):
    """It was decided otherwise before."""

    def __init__(self, decided: str, by: str) -> None:
        who = "it was not answered in time" if by == "timeout" else "another request decided before"
        super().__init__(f"the approval stands decided: {decided}; {who}")


class ApprovalOverError(ClaudeAgentError):
    """The run of the turn that asked is over."""

    def __init__(self) -> None:
        super().__init__(
            "the turn that asked has ended, or was begun again; if it still needs this, it asks again: see "
            "GET .../approvals"
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
