"""UsageStore in memory."""

from collections.abc import Mapping
from datetime import date

from claude_agent_http.domain.session import Session
from claude_agent_http.domain.usage import ERASED, DayUsage, Spending, UsageBatch, erased_name

__all__ = ["MemoryUsageStore", "SessionUsage"]

SessionUsage = dict[str, dict[str, Spending]]
"""By session and model."""


class MemoryUsageStore:
    def __init__(self, sessions: Mapping[str, Session], by_session: SessionUsage) -> None:
        self._sessions = sessions
        self._by_session = by_session
        self._by_day: dict[tuple[str, date, str], Spending] = {}
        self._numbers: dict[str, int] = {}

    async def add(self, batch: UsageBatch) -> None:
        if self._numbers.get(batch.writer, 0) >= batch.number:
            return
        self._numbers[batch.writer] = batch.number
        for account, spent in batch.spent:
            self._count(account.user_id, account.day, account.model, spent)
            if account.session_id in self._sessions:
                models = self._by_session.setdefault(account.session_id, {})
                models[account.model] = models.get(account.model, Spending()) + spent

    async def of_session(self, session_id: str) -> dict[str, Spending]:
        return dict(sorted(self._by_session.get(session_id, {}).items()))

    async def total_of_session(self, session_id: str) -> Spending:
        return sum(self._by_session.get(session_id, {}).values(), Spending())

    async def of_days(self, first: date, last: date, *, user_id: str | None) -> list[DayUsage]:
        found: dict[tuple[date, str], Spending] = {}
        for (user, day, model), spent in self._by_day.items():
            if first <= day <= last and user_id in (None, user):
                found[day, model] = found.get((day, model), Spending()) + spent
        return [DayUsage(day, model, spent) for (day, model), spent in sorted(found.items())]

    async def total_of_day(self, day: date, *, user_id: str | None) -> Spending:
        whose = None if user_id is None else (user_id, erased_name(user_id, day))
        found = self._by_day.items()
        return sum(
            (spent for (user, on, _), spent in found if on == day and (whose is None or user in whose)),
            Spending(),
        )

    async def erase(self, user_id: str, today: date) -> None:
        for user, day, model in [key for key in self._by_day if key[0] == user_id]:
            spent = self._by_day.pop((user, day, model))
            if day >= today:
                self._count(erased_name(user_id, day), day, model, spent)

    async def forget_erased(self, today: date) -> None:
        for key in [key for key in self._by_day if key[0].startswith(ERASED) and key[1] < today]:
            del self._by_day[key]

    def _count(self, user_id: str, day: date, model: str, spent: Spending) -> None:
        key = (user_id, day, model)
        self._by_day[key] = self._by_day.get(key, Spending()) + spent
