"""A replica of a newer version tells more than this one knows, and a log that cannot be read is one log."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from structlog.testing import capture_logs
from tests.service.engine.cluster import Cluster, Replica

from claude_agent_http.domain.event import Event, EventType, NewEvent
from claude_agent_http.domain.session import Session
from claude_agent_http.domain.turn import StopReason, Usage
from claude_agent_http.engine import NewSession
from claude_agent_http.engine.journal import Journal
from claude_agent_http.ports import EventLog
from claude_agent_http.runtime.fake import Say, UseTool, Wait

More = Callable[[NewEvent], NewEvent]


class Newer:
    """What a newer version appends."""

    def __init__(self, log: EventLog, more: More) -> None:
        self.read = log.read
        self._log = log
        self._more = more

    async def append(self, session_id: str, events: Sequence[NewEvent], **how: Any) -> list[Event]:
        return await self._log.append(session_id, [self._more(event) for event in events], **how)


def make_newer(replica: Replica, more: More) -> None:
    journal: Journal = replica.engine._live._parts.journal
    journal._log = Newer(replica.store.events, more)


def counts_more(event: NewEvent) -> NewEvent:
    data = {
        name: value | {"new_tokens": 1} if "usage" in name else value for name, value in event.data.items()
    }
    return replace(event, data=data)


def stops_for_a_new_reason(event: NewEvent) -> NewEvent:
    if event.type is not EventType.STATUS_IDLE:
        return event
    return replace(event, data={"stop_reason": {"type": "new_reason", "more": 1}})


def has_new_types(event: NewEvent) -> NewEvent:
    return (
        replace(event, type=EventType.told("agent.new")) if event.type is EventType.AGENT_MESSAGE else event
    )


async def test_who_waits_is_told_of_a_turn_that_counts_more(cluster: Cluster) -> None:
    a, b = await cluster.start(), await cluster.start()
    session = await a.engine.create(NewSession("alice"))
    await a.say(session, "one")
    make_newer(a, counts_more)
    end = await b.say(session, "two")
    assert (end.error, type(end.usage)) == (None, Usage)


async def test_who_waits_is_told_of_a_turn_that_stopped_for_a_new_reason(cluster: Cluster) -> None:
    a, b = await cluster.start(), await cluster.start()
    session = await a.engine.create(NewSession("alice"))
    await a.say(session, "one")
    make_newer(a, stops_for_a_new_reason)
    end = await b.say(session, "two")
    assert (end.error, end.stop_reason) == (None, StopReason.END_TURN)


async def test_a_turn_of_a_newer_version_is_taken_over(cluster: Cluster) -> None:
    a, _ = await cluster.start(), await cluster.start()
    make_newer(a, lambda event: has_new_types(counts_more(event)))
    cluster.plays["slow"] = (Say("x"), UseTool(), Wait(asyncio.Event()))
    session = await a.engine.create(NewSession("alice"))
    await a.engine.send(session.id, "slow")
    await cluster.until_type(session, EventType.AGENT_TOOL_STARTED)
    a.cut_off()
    log = await cluster.until_idle(session)
    assert log[-1].data["stop_reason"]["interrupted"] == "restart"
    assert EventType.told("agent.new") in {event.type for event in log}


class Unreadable:
    """A log of which one session's cannot be read, for a reason that nobody foresaw."""

    def __init__(self, log: EventLog, session: Session) -> None:
        self.append = log.append
        self._log = log
        self._session = session

    async def read(self, session_id: str, **how: Any) -> list[Event]:
        if session_id == self._session.id:
            raise TypeError("unforeseen")
        return await self._log.read(session_id, **how)


async def test_a_turn_that_cannot_be_taken_over_keeps_no_other_and_no_start_waiting(cluster: Cluster) -> None:
    a = await cluster.start()
    cluster.plays["slow"] = (Say("x"), UseTool(), Wait(asyncio.Event()))
    bad, good = await a.engine.create(NewSession("alice")), await a.engine.create(NewSession("bob"))
    for session in (bad, good):  # the oldest is tried first
        await a.engine.send(session.id, "slow")
        await cluster.until_type(session, EventType.AGENT_TOOL_STARTED)
    a.cut_off()
    await cluster.store.leases.leave(a.engine._membership.replica.id)
    store: Any = cluster.store
    readable, store.events = store.events, Unreadable(store.events, bad)
    with capture_logs() as logged:
        await cluster.start()
    store.events = readable
    assert (await cluster.log(good))[-1].type is EventType.STATUS_IDLE
    assert bad.id in {entry.get("session_id") for entry in logged if entry["log_level"] == "error"}
    held = await cluster.store.sessions.get(bad.id)
    assert held.lease_holder is None
