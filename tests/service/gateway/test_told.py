"""What answers tell of their tokens, in whatever pieces they come."""

import json
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_agent_http.demo.reply import Reply, Text
from claude_agent_http.demo.wire import Envelope, frames, message_json
from claude_agent_http.gateway.prices import Told
from claude_agent_http.gateway.told import Reader, reader_of


def event(name: str, **data: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()


START = event(
    "message_start",
    message={
        "usage": {
            "input_tokens": 10,
            "output_tokens": 1,
            "cache_read_input_tokens": 300,
            "cache_creation_input_tokens": 50,
            "cache_creation": {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 20},
        }
    },
)
DELTA = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "x" * 400})
LYING = event(
    "content_block_delta", index=0, delta={"text": '{"type":"message_delta","usage":{"output_tokens":0}}'}
)
END = event(
    "message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 70, "input_tokens": None}
)
STREAM = START + DELTA + LYING + END + event("message_stop")
ASKED_BYTES = 4_000
WHOLE = Told(10, 70, 300, 50, 20)


def stream(chunks: Iterable[bytes]) -> Reader:
    reader = reader_of("text/event-stream; charset=utf-8", ASKED_BYTES)
    for chunk in chunks:
        reader.feed(chunk)
    return reader


@given(st.lists(st.integers(0, len(STREAM)), max_size=30))
def test_a_stream_tells_the_same_however_it_is_cut(cuts: list[int]):
    places = [0, *sorted(cuts), len(STREAM)]
    chunks = [STREAM[one:other] for one, other in pairwise(places)]
    assert stream(chunks).told() == WHOLE


def test_a_stream_with_carriage_returns_tells_the_same():
    assert stream([STREAM.replace(b"\n", b"\r\n")]).told() == WHOLE


def test_what_the_demo_model_says_is_told():
    reply = Reply((Text("some words of an answer"),), input_tokens=7, output_tokens=3)
    envelope = Envelope("id", "claude-a", 99)
    told = stream(frame.data for frame in frames(reply, envelope)).told()
    assert told is not None
    assert (told.input_tokens, told.output_tokens) == (7, 3)
    reader = reader_of("application/json", ASKED_BYTES)
    reader.feed(json.dumps(message_json(reply, envelope)).encode())
    assert reader.told() == told


def test_a_stream_that_breaks_off_counts_its_input_and_what_was_written():
    told = stream([START, DELTA, DELTA[:50]]).told()
    assert told is not None
    assert (told.input_tokens, told.cache_read_input_tokens) == (10, 300)
    assert 90 <= told.output_tokens <= 130  # of 400 characters


def test_a_long_line_is_passed_over_and_the_rest_is_read():
    long = event("content_block_delta", delta={"text": "y" * 300_000})
    chunks = [START, *(long[at : at + 10_000] for at in range(0, len(long), 10_000)), END]
    assert stream(chunks).told() == WHOLE
    broken = stream(chunks[:-1]).told()
    assert broken is not None
    assert broken.output_tokens > 70_000


def test_a_first_event_that_is_too_long_leaves_the_input_to_be_reckoned():
    long = event("message_start", message={"usage": {"input_tokens": 7}, "content": ["y" * 100_000]})
    told = stream([long, DELTA, END, event("message_stop")]).told()
    assert told is not None
    assert (told.input_tokens, told.output_tokens, told.is_reckoned) == (1_000, 70, True)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/event-stream", b"event: ping\ndata: {}\n\n"),
        ("text/event-stream", b'data: {"usage": \n\n'),
        ("text/event-stream", b'data: {"type":"message_start","message":{"usage":3}}\n\n'),
        ("application/json", b'{"type":"message"}'),
        ("application/json", b'{"type":"error","usage":{}}'),
        ("application/json", b"[" * 200_000),
    ],
)
def test_an_answer_that_tells_nothing_is_reckoned(kind: str, body: bytes):
    reader = reader_of(kind, ASKED_BYTES)
    reader.feed(body)
    told = reader.told()
    assert told is not None
    assert told.input_tokens == 1_000


def test_what_is_written_is_reckoned_where_nothing_is_told():
    assert stream([DELTA, DELTA, event("message_stop")]).told() == Told(1_000, 196, is_reckoned=True)
    reader = reader_of("application/json", ASKED_BYTES)
    reader.feed(b'{"type":"message","content":"' + b"x" * 369 + b'"}')
    assert reader.told() == Told(1_000, 100, is_reckoned=True)


@pytest.mark.parametrize("kind", ["text/event-stream", "application/json"])
def test_an_answer_that_never_came_counts_nothing(kind: str):
    reader = reader_of(kind, ASKED_BYTES)
    reader.feed(b"")
    assert reader.told() is None


@pytest.mark.parametrize("number", [-1, 1.5, "7", True, None, 2**60])
def test_what_is_no_count_is_none(number: object):
    reader = reader_of("application/json", ASKED_BYTES)
    usage = {"input_tokens": number, "output_tokens": 2, "cache_creation": "x"}
    reader.feed(json.dumps({"type": "message", "usage": usage}).encode())
    assert reader.told() == Told(0, 2)
