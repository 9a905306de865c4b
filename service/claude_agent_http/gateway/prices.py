"""What tokens cost, by model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from fnmatch import fnmatchcase

from claude_agent_http.domain.usage import Spending

__all__ = ["CLAUDE_PRICES", "Price", "Prices", "Told"]


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million tokens of each class, which is also millionths of a dollar for one token."""

    input: Decimal
    output: Decimal
    cache_read: Decimal
    cache_write: Decimal


@dataclass(frozen=True, slots=True)
class Told:
    """What one answer told of its tokens. `hour_cache_tokens` of the created ones are kept for an hour.
    `is_reckoned`: it came to its end without a word of them, and they are reckoned from its length."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    hour_cache_tokens: int = 0
    is_reckoned: bool = False


# A cache entry costs 1.25 times the input for five minutes, and twice the input for an hour.
_HOUR = Decimal("1.6")


class Prices:
    """`table` has a pattern (`*` and `?`) a model; the first that fits counts."""

    def __init__(self, table: Sequence[tuple[str, Price]]) -> None:
        self._table = tuple(table)

    def of(self, model: str) -> Price | None:
        return next((price for pattern, price in self._table if fnmatchcase(model, pattern)), None)

    def spending(self, model: str, told: Told) -> Spending:
        """With no cost where the model has no price."""
        price = self.of(model)
        return Spending(
            1,
            told.input_tokens,
            told.output_tokens,
            told.cache_read_input_tokens,
            told.cache_creation_input_tokens,
            0 if price is None else _cost(price, told),
        )


def _cost(price: Price, told: Told) -> int:
    """In millionths of a dollar, rounded up: a budget must not last longer than its money."""
    hours = min(told.hour_cache_tokens, told.cache_creation_input_tokens)
    cost = (
        told.input_tokens * price.input
        + told.output_tokens * price.output
        + told.cache_read_input_tokens * price.cache_read
        + (told.cache_creation_input_tokens - hours) * price.cache_write
        + hours * price.cache_write * _HOUR
    )
    return int(cost.to_integral_value(ROUND_CEILING))


def _price(given: str, cache_read: str) -> Price:
    """Output costs five times, and a cache entry of five minutes 1.25 times the input, whatever the model."""
    of_input = Decimal(given)
    return Price(of_input, 5 * of_input, Decimal(cache_read), of_input * Decimal("1.25"))


# As of 2026-11 on https://platform.claude.com/docs/en/about-claude/pricing. Claude Haiku 5.5 costs a fifth of
# this for prompts up to 100,000 tokens. Server tools (web search) cost extra.
_CLAUDE: Mapping[str, Price] = {
    "claude-fable-5-1*": _price("10", "0.25"),
    "claude-mythos-5-1*": _price("10", "0.25"),
    "claude-fable-5*": _price("10", "1"),
    "claude-mythos-5*": _price("10", "1"),
    "claude-opus-5-5*": _price("4", "0.2"),
    "claude-opus-5*": _price("5", "0.5"),
    "claude-opus-4-[5678]*": _price("5", "0.5"),
    "claude-opus-4*": _price("15", "1.5"),
    "claude-sonnet-5-5*": _price("2", "0.1"),
    "claude-sonnet-5*": _price("2", "0.2"),
    "claude-sonnet-4*": _price("3", "0.3"),
    "claude-3-7-sonnet*": _price("3", "0.3"),
    "claude-haiku-5-5*": _price("0.5", "0.05"),
    "claude-haiku-4*": _price("1", "0.1"),
    "claude-3-5-haiku*": _price("0.8", "0.08"),
}
CLAUDE_PRICES: tuple[tuple[str, Price], ...] = tuple(_CLAUDE.items())
