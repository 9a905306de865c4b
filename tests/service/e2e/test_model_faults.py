"""A model that fails, stalls or babbles: the status code, the log, and that the session goes on."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import pytest
from tests.service.e2e.client import Client, assert_dense, script

pytestmark = pytest.mark.tier("cli")


@dataclass(frozen=True)
class Fault:
    step: dict[str, Any]
    status: int
    problem: str
    retry_after: str | None = None


FAULTS = {
    "too-many": Fault({"status": 429}, 503, "model_rate_limited", "30"),
    "too-many-told": Fault({"status": 429, "retry_after": 1}, 503, "model_rate_limited", "30"),
    "broken": Fault({"status": 500}, 502, "model_request_failed"),
    "overloaded": Fault({"status": 529}, 503, "model_overloaded", "10"),
    "unknown-key": Fault({"status": 401}, 502, "model_authentication"),
    "cut": Fault({"cut": 3, "tokens": 20}, 502, "model_request_failed"),
    "garbage": Fault({"garbage": True}, 502, "model_request_failed"),
}


async def test_a_model_that_always_fails(client: Client) -> None:
    async with asyncio.TaskGroup() as group:
        for name, fault in FAULTS.items():
            group.create_task(check(client, name, fault), name=name)


async def check(client: Client, name: str, fault: Fault) -> None:
    session = await client.create(f"model-{name}")
    began = time.monotonic()
    answer = await client.chat(session, script(fault.step))
    assert time.monotonic() - began < 40, name
    assert (answer.status_code, answer.headers.get("Retry-After")) == (fault.status, fault.retry_after), name
    problem = answer.json()
    assert problem["type"] == f"urn:claude-agent-http:problem:{fault.problem}"
    assert len(problem["detail"]) > 20
    log = await client.events(session)
    (error,) = (event["error"] for event in log if event["type"] == "session.error")
    assert (error["type"], error["message"]) == (f"{fault.problem}_error", problem["detail"])
    assert log[-1]["stop_reason"]["type"] == "retries_exhausted"
    assert await client.say(session, script({"text": "fine"})) == "fine"
    assert_dense(await client.events(session))


async def test_a_failure_that_passes_is_not_seen(client: Client) -> None:
    session = await client.create("model-twice")
    assert await client.say(session, script({"status": 529, "times": 2, "text": "got there"})) == "got there"
    assert "session.error" not in [event["type"] for event in await client.events(session)]


WORDS = "a text that is cut after a few of its words"
CUT = {"cut": 5, "text": WORDS, "delay_ms": 30}


async def test_a_stream_that_is_cut_and_tried_again_is_shown_once(client: Client) -> None:
    session = await client.create("model-cut")
    async with client.follow(session, deltas=True) as follower:
        chunks = [chunk async for chunk in client.chunks(session, script({**CUT, "times": 1}))]
        await follower.until_type("session.status_idle")
    assert "".join(chunk["text"] or "" for chunk in chunks) == WORDS
    assert chunks[-1]["type"] == "done"
    started, withdrawn = concluded(follower.deltas)
    (said,) = (event for event in follower.events if event["type"] == "agent.message")
    assert (started, said["content"][0]["text"]) == ([*withdrawn, said["id"]], WORDS)
    assert len(withdrawn) == 1
    ends = [event["is_error"] for event in follower.events if event["type"] == "span.model_request_end"]
    assert ends == [True, False]


async def test_a_stream_that_is_always_cut_leaves_nothing_said(client: Client) -> None:
    session = await client.create("model-cuts")
    async with client.follow(session, deltas=True) as follower:
        chunks = [chunk async for chunk in client.chunks(session, script(CUT))]
        await follower.until_type("session.status_idle")
    shown = "".join(chunk["text"] or "" for chunk in chunks)
    assert shown
    assert WORDS.startswith(shown)
    assert chunks[-1]["type"] == "error"
    started, withdrawn = concluded(follower.deltas)
    assert started == withdrawn
    assert len(withdrawn) > 1
    assert "agent.message" not in [event["type"] for event in follower.events]


def concluded(deltas: list[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """The ids of the messages that were begun, and of those that were withdrawn."""
    started = [one["event"]["id"] for one in deltas if one["type"] == "event_start"]
    return started, [one["event_id"] for one in deltas if one["type"] == "event_withdrawn"]


async def test_a_stalled_model_runs_into_the_timeout(client: Client) -> None:
    session = await client.create("model-stall")
    await client.say(session, "my name is Robin")
    began = time.monotonic()
    answer = await client.chat(session, script({"stall": 60}), 2)
    assert (answer.status_code, time.monotonic() - began < 10) == (504, True)
    assert "my name is Robin" in await client.recall(session)
