"""What waits to be told: said once, in order, and never without bound."""

from claude_agent_http.domain.event import Delta, EventType, Withdrawn
from claude_agent_http.domain.wakeup import Appended, Changed, PeersChanged, Wakeup, Wanted
from claude_agent_http.store.outbox import Outbox


def delta(text: str, offset: int = 0, event_id: str = "e", session_id: str = "s") -> Delta:
    return Delta(session_id, event_id, EventType.AGENT_MESSAGE, offset, text)


def outbox_of(*wakeups: Wakeup) -> Outbox:
    outbox = Outbox()
    for wakeup in wakeups:
        outbox.put(wakeup)
    return outbox


def test_it_gives_all_and_is_empty_then() -> None:
    assert not Outbox()
    facts: list[Wakeup] = [Appended("s", 1), Changed("s"), Wanted("s"), PeersChanged()]
    outbox = outbox_of(*facts)
    assert outbox
    assert outbox.take() == facts
    assert not outbox
    assert outbox.take() == []


def test_of_a_sessions_growth_the_last_word_is_enough() -> None:
    words: list[Wakeup] = [
        Appended("s", 1),
        Appended("t", 9),
        Appended("s", 3),
        Appended("s", 2),
        Changed("s"),
        Changed("s"),
    ]
    assert outbox_of(*words).take() == [Appended("s", 3), Appended("t", 9), Changed("s")]


def test_deltas_that_follow_each_other_are_joined() -> None:
    told = [delta("ab"), delta("c", 2), delta("", 3), delta("d", 3), delta("x", 9), delta("y", 10)]
    assert outbox_of(*told).take() == [delta("abcd"), delta("xy", 9)]


def test_deltas_keep_their_order_beside_others_and_come_before_the_facts() -> None:
    told: list[Wakeup] = [
        Appended("s", 1),
        delta("a"),
        delta("other", event_id="f"),
        delta("b", 1),
        Withdrawn("s", "e"),
        delta("anew"),
        delta("again from the start"),
    ]
    assert outbox_of(*told).take() == [*told[1:], told[0]]


def test_text_without_end_is_not_kept() -> None:
    outbox = Outbox()
    for number in range(3000):
        outbox.put(delta("x" * 1000, number * 1000))
        outbox.put(Appended("s", number))
    *deltas, fact = outbox.take()
    assert sum(len(one.text) for one in deltas if isinstance(one, Delta)) < 600_000
    assert isinstance(deltas[-1], Delta)
    assert deltas[-1].offset + len(deltas[-1].text) == 3_000_000
    assert fact == Appended("s", 2999)


def test_pieces_without_end_are_not_kept() -> None:
    """Of many messages at once, so that none continues the one before."""
    outbox = Outbox()
    for number in range(100_000):
        outbox.put(delta("x", number // 10, event_id=f"e{number % 10}"))
    kept = outbox.take()
    assert 0 < len(kept) < 5000
    assert kept[-1] == delta("x", 9999, event_id="e9")


def test_withdrawals_outlive_the_deltas_and_have_an_end_too() -> None:
    outbox = outbox_of(Withdrawn("s", "first"), delta("gone"))
    outbox.put(delta("x" * 600_000, event_id="f"))
    assert [type(one) for one in outbox.take()] == [Withdrawn, Delta]
    outbox = outbox_of(*(Withdrawn("s", f"{number}") for number in range(100_000)))
    kept = outbox.take()
    assert 1000 < len(kept) < 5000
    assert kept[-1] == Withdrawn("s", "99999")


def test_facts_of_many_sessions_have_an_end() -> None:
    outbox = Outbox()
    for number in range(50_000):
        outbox.put(Appended(f"s{number}", 1))
        outbox.put(Changed(f"s{number}"))
    kept = outbox.take()
    assert len(kept) == 10_000
    assert kept[-2:] == [Appended("s49999", 1), Changed("s49999")]


def test_after_too_much_it_starts_afresh() -> None:
    outbox = Outbox()
    for _ in range(3):
        outbox.put(delta("x" * 600_000))
        assert outbox.take() == [delta("x" * 600_000)]
    outbox.put(delta("a"))
    outbox.put(delta("b", 1))
    assert outbox.take() == [delta("ab")]
