"""Wake-ups as payloads: whole, in order, and never longer than Postgres takes."""

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.proof import amount

from claude_agent_http.domain.event import Delta, EventType, Withdrawn
from claude_agent_http.domain.wakeup import Appended, Changed, Missed, PeersChanged, Wakeup, Wanted
from claude_agent_http.store.wakeup_codec import pack, unpack

SENDER = "0123456789abcdef" * 2
LONGEST = 8000 - 1  # bytes, that Postgres takes

_IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
_SEQS = st.integers(0, 2**63)
# Surrogates too, alone and in what looks like pairs.
_TEXTS = st.text(st.characters() | st.characters(categories=["Cs"]) | st.sampled_from('\x00"\\\U0001f600'))
_LONG_TEXTS = st.builds(lambda text, times: text * times, _TEXTS, st.integers(0, 3000))
_DELTAS = st.builds(Delta, _IDS, _IDS, st.sampled_from(EventType), _SEQS, _TEXTS | _LONG_TEXTS)
_WAKEUPS = st.one_of(
    st.builds(Appended, _IDS, _SEQS),
    st.builds(Changed, _IDS),
    st.builds(Wanted, _IDS),
    st.just(PeersChanged()),
    _DELTAS,
    st.builds(Withdrawn, _IDS, _IDS),
)


def unpacked(payloads: Iterable[str]) -> list[Wakeup]:
    heard: list[Wakeup] = []
    for payload in payloads:
        sender, wakeups = unpack(payload)
        assert sender == SENDER
        heard += wakeups
    return heard


def joined(wakeups: Iterable[Wakeup]) -> list[Wakeup]:
    """Deltas that go on where the one before ends, as one: it matters what is said, not in which pieces."""
    said: list[Wakeup] = []
    for wakeup in wakeups:
        last = said[-1] if said else None
        if isinstance(wakeup, Delta) and isinstance(last, Delta) and _goes_on(last, wakeup):
            said[-1] = replace(last, text=last.text + wakeup.text)
        else:
            said.append(wakeup)
    return said


def _goes_on(first: Delta, second: Delta) -> bool:
    # An empty one says something of its own: that a message was begun.
    after = replace(first, offset=first.offset + len(first.text), text=second.text)
    return bool(first.text and second.text) and after == second


@settings(max_examples=amount(150, 3000), deadline=None)
@given(st.lists(_WAKEUPS, max_size=12))
def test_everything_comes_whole_and_in_order(wakeups: list[Wakeup]) -> None:
    payloads = pack(SENDER, wakeups)
    assert all(len(payload.encode()) <= LONGEST for payload in payloads)
    assert joined(unpacked(payloads)) == joined(wakeups)


@pytest.mark.parametrize("character", ["a", "\x00", "\U0001f600", "\ud800", "\udc00a", '"', "﷽"])
def test_a_very_long_delta_comes_whole_and_in_full_payloads(character: str) -> None:
    delta = Delta("s", "sevt_1", EventType.AGENT_MESSAGE, 7, character * 100_000)
    payloads = pack(SENDER, [delta])
    heard = unpacked(payloads)
    assert joined(heard) == joined([delta])
    assert all(len(payload.encode()) <= LONGEST for payload in payloads)
    assert len(payloads) < 4 * len("".join(payloads)) / LONGEST


def test_surrogates_that_look_like_a_pair_stay_two_characters() -> None:
    delta = Delta("s", "sevt_1", EventType.AGENT_MESSAGE, 0, "a\ud83d\ude00b")
    heard = unpacked(pack(SENDER, [delta]))
    assert "".join(piece.text for piece in heard if isinstance(piece, Delta)) == delta.text


def test_many_small_ones_share_a_payload() -> None:
    many: list[Wakeup] = [Appended(f"session {number}", number) for number in range(200)]
    payloads = pack(SENDER, many)
    assert len(payloads) == 1
    assert unpacked(payloads) == many
    assert pack(SENDER, []) == []


@pytest.mark.parametrize("size", range(7700, 7920))
def test_no_length_is_just_too_long(size: int) -> None:
    wakeups: list[Wakeup] = [Delta("s", "e", EventType.AGENT_MESSAGE, 0, "x" * size), Changed("s")]
    payloads = pack(SENDER, wakeups)
    assert all(len(payload) <= LONGEST for payload in payloads)
    assert joined(unpacked(payloads)) == joined(wakeups)


def test_what_fits_in_no_payload_is_left_out() -> None:
    long = "s" * 10_000
    lost: list[Wakeup] = [
        Changed(long),
        Delta(long, "e", EventType.AGENT_MESSAGE, 0, "text"),
        Withdrawn("s", long),
    ]
    assert unpacked(pack(SENDER, [*lost, Changed("s")])) == [Changed("s")]


def test_who_missed_something_tells_others_to_look() -> None:
    assert unpacked(pack(SENDER, [Missed()])) == [PeersChanged()]


@pytest.mark.parametrize(
    "item",
    [
        ["z", "s", 1],
        ["a", "s"],
        ["a", "s", "1"],
        ["a", 1, 1],
        ["a", "s", 1, "more"],
        ["c"],
        ["d", "s", "e", "of.a.newer.version", 0, "text"],
        ["d", "s", "e", "agent.message", "0", "text"],
        ["d", "s", "e", "agent.message", 0, None],
        [],
        [[]],
        {},
        "a",
        None,
        7,
    ],
)
def test_what_is_not_known_is_left_out_alone(item: object) -> None:
    payload = json.dumps([SENDER, ["c", "before"], item, ["c", "after"]])
    assert unpack(payload) == (SENDER, [Changed("before"), Changed("after")])


@pytest.mark.parametrize(
    "payload",
    ["", "hello", "[]", "{}", '{"a": 1}', "7", "null", '"text"', "[1]", "[null, []]", "[" * 7000, "[NaN"],
)
def test_what_no_replica_sends_is_refused(payload: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json's own messages
        unpack(payload)


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_nothing_else_is_ever_raised(payload: str) -> None:
    with suppress(ValueError):
        unpack(payload)
