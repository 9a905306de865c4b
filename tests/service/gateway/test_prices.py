"""What tokens cost."""

from decimal import Decimal

import pytest

from claude_agent_http.domain.usage import Spending
from claude_agent_http.gateway import CLAUDE_PRICES, Price, Prices
from claude_agent_http.gateway.prices import Told

MILLION = 1_000_000


@pytest.mark.parametrize(
    ("model", "usd"),
    [
        ("claude-opus-5-5", (4, 20, Decimal("0.2"), 5)),
        ("claude-opus-5-5-20261001", (4, 20, Decimal("0.2"), 5)),
        ("claude-opus-5", (5, 25, Decimal("0.5"), Decimal("6.25"))),
        ("claude-opus-4-8", (5, 25, Decimal("0.5"), Decimal("6.25"))),
        ("claude-opus-4-5-20251101", (5, 25, Decimal("0.5"), Decimal("6.25"))),
        ("claude-opus-4-1-20250805", (15, 75, Decimal("1.5"), Decimal("18.75"))),
        ("claude-opus-4-20250514", (15, 75, Decimal("1.5"), Decimal("18.75"))),
        ("claude-sonnet-5-5", (2, 10, Decimal("0.1"), Decimal("2.5"))),
        ("claude-sonnet-4-6", (3, 15, Decimal("0.3"), Decimal("3.75"))),
        ("claude-haiku-4-5-20251001", (1, 5, Decimal("0.1"), Decimal("1.25"))),
        ("claude-fable-5-1", (10, 50, Decimal("0.25"), Decimal("12.5"))),
    ],
)
def test_claudes_prices(model: str, usd: tuple[Decimal | int, ...]):
    prices = Prices(CLAUDE_PRICES)
    singly = [
        *(Told(input_tokens=MILLION), Told(output_tokens=MILLION)),
        *(Told(cache_read_input_tokens=MILLION), Told(cache_creation_input_tokens=MILLION)),
    ]
    assert [prices.spending(model, told).cost_micro_usd for told in singly] == [
        int(one * MILLION) for one in usd
    ]


def test_an_entry_of_an_hour_costs_twice_the_input():
    told = Told(cache_creation_input_tokens=1000, hour_cache_tokens=1000)
    assert Prices(CLAUDE_PRICES).spending("claude-opus-4-8", told).cost_micro_usd == 10_000


def test_fractions_of_a_millionth_are_rounded_up():
    price = Price(*map(Decimal, ("0.1", "0", "0", "0")))
    spent = [Prices([("*", price)]).spending("m", Told(number)).cost_micro_usd for number in (0, 1, 10, 11)]
    assert spent == [0, 1, 1, 2]


def test_the_first_pattern_that_fits_counts():
    cheap, dear = (Price(*[Decimal(cost)] * 4) for cost in ("1", "9"))
    prices = Prices([("my-?", cheap), ("my-*", dear)])
    assert [prices.of(model) for model in ("my-1", "my-10", "My-1", "xmy-1")] == [cheap, dear, None, None]


def test_a_model_without_a_price_has_tokens_and_no_cost():
    assert Prices(CLAUDE_PRICES).spending("other", Told(1, 2, 3, 4)) == Spending(1, 1, 2, 3, 4, 0)
