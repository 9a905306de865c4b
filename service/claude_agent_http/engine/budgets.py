"""Whether a session may go on spending."""

from dataclasses import dataclass
from functools import partial

from claude_agent_http.domain.errors import BudgetReachedError, DayBudgetReachedError
from claude_agent_http.domain.turn import ErrorKind, TurnError
from claude_agent_http.domain.usage import BudgetLimits, BudgetScope, seconds_until_tomorrow
from claude_agent_http.engine.ledger import Ledger
from claude_agent_http.ports import Clock

__all__ = ["Budgets"]

_TOMORROW = "budget of {limit} for this day is spent; the next begins at midnight UTC"
_WHOSE = {
    BudgetScope.SESSION: "the session's budget of {limit} is spent; begin a new session",
    BudgetScope.USER_DAY: f"the user's {_TOMORROW}",
    BudgetScope.SERVICE_DAY: f"the service's {_TOMORROW}",
}


@dataclass(frozen=True, slots=True)
class Budgets:
    """Asked before a turn and before each of its requests. What is under way when a budget is reached goes on
    to its end, so a budget is overrun by that, and by what other replicas spent in the last two seconds."""

    limits: BudgetLimits
    ledger: Ledger
    clock: Clock

    async def check(self, user_id: str, session_id: str) -> None:
        """Raises BudgetReachedError, DayBudgetReachedError, StorageError."""
        if (reached := await self._reached(user_id, session_id)) is None:
            return
        scope, message = reached
        if scope is BudgetScope.SESSION:
            raise BudgetReachedError(message)
        raise DayBudgetReachedError(message, retry_after=seconds_until_tomorrow(self.clock.now()))

    async def refusal(self, user_id: str, session_id: str) -> TurnError | None:
        """The same for a turn that is under way. Raises StorageError."""
        if (reached := await self._reached(user_id, session_id)) is None:
            return None
        scope, message = reached
        of_session = scope is BudgetScope.SESSION
        return TurnError(ErrorKind.BUDGET_REACHED if of_session else ErrorKind.DAY_BUDGET_REACHED, message)

    async def _reached(self, user_id: str, session_id: str) -> tuple[BudgetScope, str] | None:
        """The first scope whose budget is spent, and what to say; no sum is asked for that nothing limits."""
        limits, ledger, today = self.limits, self.ledger, self.ledger.today()
        for scope, budget, spent in (
            (BudgetScope.SESSION, limits.session, partial(ledger.of_session, session_id)),
            (BudgetScope.USER_DAY, limits.user_day, partial(ledger.of_day, today, user_id)),
            (BudgetScope.SERVICE_DAY, limits.service_day, partial(ledger.of_day, today, None)),
        ):
            if budget.is_limited and (limit := budget.reached_by(await spent())) is not None:
                return scope, _WHOSE[scope].format(limit=limit)
        return None
