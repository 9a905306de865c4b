"""Who did what, and what came of it; never what was said."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from claude_agent_http.domain.approval import Decision
from claude_agent_http.domain.caller import Caller

__all__ = ["AUDIT_ID_PATTERN", "AuditEntry", "AuditFilter", "AuditResult", "CallerKind"]

AUDIT_ID_PATTERN = "^aud_[0-9a-z]{26}$"
"""What the ids of entries look like."""

_DENIED = frozenset({401, 403, 404})
_BAD_REQUEST = 400
_SERVER_ERROR = 500


class CallerKind(StrEnum):
    """In what role somebody asked: an admin, a program that acts for any user, one user, whoever there is
    where nobody is asked who they are, somebody who did not show a good credential, or who runs the program's
    commands on the database."""

    ADMIN = "admin"
    ANY_USER = "any_user"
    USER = "user"
    EVERYONE = "everyone"
    UNKNOWN = "unknown"
    CLI = "cli"

    @classmethod
    def of(cls, caller: Caller | None) -> "CallerKind":
        match caller:
            case None:
                return cls.UNKNOWN
            case Caller(credential=None):
                return cls.EVERYONE
            case Caller(is_admin=True):
                return cls.ADMIN
            case Caller(acts_for_any=True):
                return cls.ANY_USER
        return cls.USER


class AuditResult(StrEnum):
    DONE = "done"
    DENIED = "denied"
    """Not known, not allowed, or not theirs: 401, 403, 404."""
    REFUSED = "refused"
    FAILED = "failed"

    @classmethod
    def of(cls, status: int) -> "AuditResult":
        if status in _DENIED:
            return cls.DENIED
        if status < _BAD_REQUEST:
            return cls.DONE
        return cls.REFUSED if status < _SERVER_ERROR else cls.FAILED


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One request. Ids sort by time. `credential` is `Caller.credential`, `user_id` the user whose things it
    was about; `route` has names in place of values, and is None for an address that is none of ours.
    `decision` is what was asked for, whether it stands or not. A command is told in the same words: its name
    is the route, and its status that of the route that does the same."""

    id: str
    at: datetime
    caller: CallerKind
    credential: str | None
    user_id: str | None
    method: str
    route: str | None
    session_id: str | None
    key_id: str | None
    status: int
    request_id: str
    client: str
    approval_id: str | None = None
    decision: Decision | None = None

    @property
    def result(self) -> AuditResult:
        return AuditResult.of(self.status)


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """What is None does not matter. `since` counts, and all before `until`."""

    user_id: str | None = None
    session_id: str | None = None
    credential: str | None = None
    result: AuditResult | None = None
    since: datetime | None = None
    until: datetime | None = None

    def fits(self, entry: AuditEntry) -> bool:
        names = ("user_id", "session_id", "credential", "result")
        wanted = {name: getattr(self, name) for name in names}
        if any(value is not None and getattr(entry, name) != value for name, value in wanted.items()):
            return False
        return (self.since is None or entry.at >= self.since) and (
            self.until is None or entry.at < self.until
        )
