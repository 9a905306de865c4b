"""What is kept beside the sessions: keys that were given out, what was used, who did what."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Protocol

from claude_agent_http.domain.api_key import ApiKey
from claude_agent_http.domain.audit import AuditEntry, AuditFilter
from claude_agent_http.domain.usage import DayUsage, Spending, UsageBatch

__all__ = ["ApiKeys", "AuditLog", "UsageStore"]


class ApiKeys(Protocol):
    """The keys that were given out. One that was revoked stays, so that it can be told from a wrong one."""

    async def add(self, key: ApiKey) -> None:
        """Raises StorageError; a repeat of the same key does nothing."""
        ...

    async def get(self, key_id: str) -> ApiKey | None: ...

    async def page(self, *, limit: int, after: str | None = None) -> list[ApiKey]:
        """Newest first by (created_at, id), those behind key `after`; `limit` at most.

        Raises InvalidInputError when `after` is no key.
        """
        ...

    async def revoke(self, key_id: str, at: datetime) -> ApiKey | None:
        """The key as it is now, revoked at that time or before; None when there is none."""
        ...

    async def used(self, times: Mapping[str, datetime]) -> None:
        """Keep when keys, by their ids, were used last; never an earlier time than is kept."""
        ...

    async def delete_of(self, user_id: str) -> int:
        """Remove all keys of one user; how many there were."""
        ...


class UsageStore(Protocol):
    """What was used of models: by user, model and UTC day, and by session and model. A session's numbers go
    with the session, the day's stay until the user is erased; then what was used today is kept for budgets
    alone, under a name that does not tell whose it is (`erased_name`), until the day is over."""

    async def add(self, batch: UsageBatch) -> None:
        """Add to what is stored, all of it in one transaction, and nothing when the batch was added before.
        Of a session that is gone only the day counts. Raises StorageError."""
        ...

    async def of_session(self, session_id: str) -> dict[str, Spending]:
        """By model. Raises StorageError."""
        ...

    async def total_of_session(self, session_id: str) -> Spending: ...

    async def of_days(self, first: date, last: date, *, user_id: str | None) -> list[DayUsage]:
        """Of one user, or of all together, from day to day inclusive, in order of day and model."""
        ...

    async def total_of_day(self, day: date, *, user_id: str | None) -> Spending:
        """Of one user, or of all together: what a budget counts, so with what erasing the user has kept."""
        ...

    async def erase(self, user_id: str, today: date) -> None:
        """Forget all days of the user; what was used on `today` or later is kept as said above. Raises
        StorageError."""
        ...

    async def forget_erased(self, today: date) -> None:
        """Forget what was kept of erased users for days before `today`. Raises StorageError."""
        ...


class AuditLog(Protocol):
    """Who did what. Entries are added and, when they are old, deleted; none is ever changed."""

    async def add(self, entries: Sequence[AuditEntry]) -> None:
        """All of them in one transaction; one whose id is stored already is a repeat. Raises StorageError."""
        ...

    async def page(
        self, wanted: AuditFilter, *, limit: int, before: str | None = None
    ) -> Sequence[AuditEntry]:
        """Newest first by id, those before the id `before`, which need not be stored; `limit` at most."""
        ...

    async def delete_before(self, at: datetime, *, limit: int) -> int:
        """Delete the oldest entries of before that time, `limit` at most; how many there were."""
        ...
