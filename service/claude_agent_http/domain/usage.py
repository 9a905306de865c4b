"""What sessions use of a model, and how much of it they may."""

import hashlib
import math
from dataclasses import dataclass, fields
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum

from claude_agent_http.domain.tokens import TokenCounts

MICRO_USD = 1_000_000
"""Of them make a US dollar."""


@dataclass(frozen=True, slots=True)
class Spending(TokenCounts):
    """Tokens as the model API counts them, and their cost by our prices in millionths of a US dollar."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cost_micro_usd: int = 0

    def __add__(self, other: "Spending") -> "Spending":
        return Spending(*(getattr(self, name) + getattr(other, name) for name in AMOUNTS))


AMOUNTS = tuple(field.name for field in fields(Spending))


@dataclass(frozen=True, slots=True)
class Account:
    """Whose spending, on which model, on which UTC day."""

    user_id: str
    session_id: str
    model: str
    day: date


@dataclass(frozen=True, slots=True)
class UsageBatch:
    """What a writer stores at once; its `number` grows, so that a repeat is known as one."""

    writer: str
    number: int
    spent: tuple[tuple[Account, Spending], ...]


@dataclass(frozen=True, slots=True)
class DayUsage:
    day: date
    model: str
    spending: Spending


ERASED = "erased:"
"""How names of erased users begin; no user's id holds a colon."""


def erased_name(user_id: str, day: date) -> str:
    """In whose name the day's spending of an erased user is kept: else erasing would be a new budget."""
    digest = hashlib.sha256(f"{day.isoformat()} {user_id}".encode("utf-8", "surrogatepass"))
    return ERASED + digest.hexdigest()


class BudgetScope(StrEnum):
    SESSION = "session"
    USER_DAY = "user_day"
    SERVICE_DAY = "service_day"


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that may be spent in one scope; None is no limit."""

    micro_usd: int | None = None
    tokens: int | None = None

    @property
    def is_limited(self) -> bool:
        return self.micro_usd is not None or self.tokens is not None

    def reached_by(self, spent: Spending) -> str | None:
        """The limit that is reached, for people: `2.5 USD` or `100000 tokens`."""
        if self.micro_usd is not None and spent.cost_micro_usd >= self.micro_usd:
            return f"{Decimal(self.micro_usd) / MICRO_USD:f} USD"
        if self.tokens is not None and spent.tokens >= self.tokens:
            return f"{self.tokens} tokens"
        return None


def seconds_until_tomorrow(now: datetime) -> int:
    """Until the next UTC day begins, rounded up: at least one."""
    tomorrow = datetime.combine(now.date() + timedelta(days=1), time(), now.tzinfo)
    return max(1, math.ceil((tomorrow - now).total_seconds()))


@dataclass(frozen=True, slots=True)
class BudgetLimits:
    """A day is one of UTC."""

    session: Budget = Budget()
    user_day: Budget = Budget()
    service_day: Budget = Budget()

    @property
    def count_money(self) -> bool:
        """Whether a model must have a price to be used."""
        return any(one.micro_usd is not None for one in (self.session, self.user_day, self.service_day))
