"""How many values one line of a CLI may have."""

import json
import time

import pytest

from claude_agent_http.runtime.lines import MOST_VALUES, has_too_many_values

SIZE = 16 * 1024 * 1024
MANY = MOST_VALUES + 1


@pytest.mark.parametrize(
    "value",
    [
        "x" * SIZE,
        "," * SIZE,
        '[{",' * (SIZE // 5),
        "\\" * (SIZE // 2),
        '\\",[' * (SIZE // 8),
        ["[,]\\"] * (MOST_VALUES - 10),
        {str(number): "{,}" for number in range(MOST_VALUES - 10)},
    ],
    ids=["text", "commas", "quoted", "backslashes", "both", "list", "object"],
)
def test_text_is_no_value_however_long(value: object) -> None:
    assert not has_too_many_values(json.dumps({"type": "user", "value": value}))


@pytest.mark.parametrize(
    "line",
    [
        json.dumps([0] * MANY),
        json.dumps([[]] * MANY),
        json.dumps([""] * MANY),
        json.dumps(["\\"] * MANY),
        json.dumps(['"'] * MANY),
        json.dumps({str(number): 0 for number in range(MANY)}),
        "[" * MANY + "]" * MANY,
        '{"a":' * MANY + "0" + "}" * MANY,
    ],
    ids=["numbers", "lists", "texts", "backslashes", "quotes", "keys", "nested", "nested objects"],
)
def test_many_values_are_too_many(line: str) -> None:
    assert has_too_many_values(line)


@pytest.mark.parametrize("piece", ["[],", '"",', '"\\\\",', '"\\"",', '\\",', "[[[", '"', "\\"])
def test_whatever_it_is_given_it_is_quick(piece: str) -> None:
    """Of the processor's time, for others want that too; to parse these takes up to ten seconds."""
    line = piece * (SIZE // len(piece))
    began = time.process_time()
    has_too_many_values(line)
    assert time.process_time() - began < 1
