"""What is read of a turn in the log, by whoever does not run it."""

import pytest

from claude_agent_http.engine import turn_log
from claude_agent_http.engine.turn_log import events_behind


@pytest.mark.parametrize("window", [1, 2, 3, 100])
async def test_all_behind_a_seq_is_read_in_however_many_steps(harness, monkeypatch, window):
    session = await harness.session()
    await harness.say(session, "hi")
    log = await harness.log(session)
    monkeypatch.setattr(turn_log, "_WINDOW", window)
    assert await events_behind(harness.store.events, session.id, 0) == log
    assert await events_behind(harness.store.events, session.id, 2) == log[2:]
    some = frozenset({log[0].type, log[-1].type})
    assert await events_behind(harness.store.events, session.id, 0, types=some) == [log[0], log[-1]]
