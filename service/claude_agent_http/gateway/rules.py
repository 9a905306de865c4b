"""What an agent may ask the model API for, and what it used: the gateway's part of budgets."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import structlog

from claude_agent_http.domain.turn import ErrorKind, TurnError
from claude_agent_http.engine.budgets import Budgets
from claude_agent_http.gateway.grants import Grant
from claude_agent_http.gateway.prices import Prices, Told

__all__ = ["Rules", "why_refused"]

_MOST_NAMES = 1000
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Rules:
    """`allowed_models` are patterns (`*` and `?`); none of them allows every model."""

    budgets: Budgets
    prices: Prices
    allowed_models: Sequence[str] = ()
    _untold: set[str] = field(default_factory=set)

    def model_refusal(self, model: str) -> TurnError | None:
        money = self.budgets.limits.count_money
        reason = why_refused(model, self.prices, self.allowed_models, counts_money=money)
        return None if reason is None else TurnError(ErrorKind.MODEL_NOT_ALLOWED, reason)

    async def budget_refusal(self, grant: Grant) -> TurnError | None:
        """Raises StorageError."""
        return await self.budgets.refusal(grant.user_id, grant.session_id)

    def used(self, grant: Grant, model: str, told: Told) -> None:
        if told.is_reckoned and model not in self._untold:
            if len(self._untold) < _MOST_NAMES:
                self._untold.add(model)
            _log.warning(
                "the model API does not tell its tokens: they are reckoned, four bytes each", model=model
            )
        self.budgets.ledger.record(grant.user_id, grant.session_id, model, self.prices.spending(model, told))


def why_refused(
    model: str, prices: Prices, allowed_models: Sequence[str], *, counts_money: bool
) -> str | None:
    """Why an agent may not use the model, whoever asks; None when it may."""
    if allowed_models and not any(fnmatchcase(model, one) for one in allowed_models):
        return f"the model {model!r} is not allowed here; gateway.allowed_models names those that are"
    if counts_money and prices.of(model) is None:
        return f"the model {model!r} has no price, and budgets of money are set; add it to gateway.prices"
    return None
