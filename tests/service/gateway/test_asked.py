"""Which model a request asks for."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_agent_http.gateway.asked import Asked, BadRequestError, asked_for

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(
    st.dictionaries(st.text().filter(lambda key: key.casefold() != "model"), VALUES, max_size=5),
    st.text("abc-5.[]/", min_size=1, max_size=20),
    st.integers(0, 5),
    st.sampled_from([None, 0, 3]),
)
def test_the_model_is_found_wherever_it_stands(rest: dict, model: str, place: int, indent: int | None):
    items = list(rest.items())
    items.insert(place, ("model", model))
    assert asked_for(json.dumps(dict(items), indent=indent).encode()).model == model


def test_a_models_name_deeper_down_is_no_models():
    tools = [{"input_schema": {"properties": {"model": {"enum": ["opus"]}}, "model": "x"}}]
    assert asked_for(json.dumps({"tools": tools, "model": "claude-a"}).encode()).model == "claude-a"


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"cheap","model":"dear"}',
        b'{"model":"cheap","mod\\u0065l":"dear"}',
        b'{"model":"cheap","Model":"dear"}',
        b'{"model":["cheap"]}',
        b'{"model":""}',
        b'{"model":null}',
        b'{"model":"a\\nb"}',
        b'{"model":"' + b"x" * 129 + b'"}',
        b'{"messages":[]}',
        b"{}",
        b"[]",
        b"",
        b"\xff",
        b'\xef\xbb\xbf{"model":"a"}',
        b'{"model":"a"',
        b'{"model":"a"} {}',
        b'{"model" "a"}',
        b'{"model":"a",}',
        b'{1:"a","model":"a"}',
        b'{"deep":' + b"[" * 100_000,
    ],
)
def test_a_body_that_asks_for_no_one_model_is_refused(body: bytes):
    with pytest.raises(BadRequestError):
        asked_for(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m"' + b',"":0' * 4_000_000 + b"}",
        b'{"model":"m","a":[' + b"[]," * 8_000_000 + b"[]]}",
        b'{"model":' + b" " * 30_000_000 + b'"m"',
    ],
    ids=["keys", "values", "spaces"],
)
def test_a_body_that_is_made_to_be_slow_is_refused_soon(body: bytes) -> None:
    began = time.process_time()
    with pytest.raises(BadRequestError):
        asked_for(body)
    assert time.process_time() - began < 1.5


@pytest.mark.parametrize(
    ("more", "streams", "max_tokens"),
    [
        ('"stream": true, "max_tokens": 9', True, 9),
        ('"stream": false, "max_tokens": 9', False, 9),
        ('"max_tokens": 9, "max_tokens": 90', False, 90),
        ('"stream": true, "Stream": false', False, 0),
        ('"stream": 1, "max_tokens": true', False, 0),
        ('"max_tokens": -1', False, 0),
        ('"max_tokens": 1e9', False, 0),
    ],
)
def test_how_long_an_answer_may_be(more: str, streams: bool, max_tokens: int):
    """Where parsers could differ it is what costs more."""
    body = f'{{"model": "claude-a", {more}}}'.encode()
    assert asked_for(body) == Asked("claude-a", len(body), streams, max_tokens)
