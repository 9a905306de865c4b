"""Turns that meet a limit: another turn, their time, the number at once, a client that leaves."""

import asyncio
import time

import pytest
from tests.service.e2e.client import Client, assert_dense, bash, said, script, tokens
from tests.service.e2e.service_process import Services

pytestmark = pytest.mark.tier("cli")


async def test_of_two_turns_at_once_one_is_refused(client: Client) -> None:
    session = await client.create("two-at-once")
    answers = await asyncio.gather(*(client.chat(session, script(tokens(50, 20))) for _ in range(2)))
    done, refused = sorted(answers, key=lambda answer: answer.status_code)
    assert (done.status_code, done.json()["text"]) == (200, said(50))
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    assert "busy" in refused.json()["detail"]
    log = await client.events(session)
    assert [event["type"] for event in log].count("user.message") == 1
    assert_dense(log)


@pytest.mark.parametrize("step", [tokens(3000, 20), bash("sleep 100")], ids=["tokens", "bash"])
async def test_a_turn_past_its_time_is_interrupted(client: Client, step: dict) -> None:
    session = await client.create("timeout")
    await client.say(session, "my name is Robin")
    began = time.monotonic()
    answer = await client.chat(session, script(step), 1)
    assert (answer.status_code, time.monotonic() - began < 8) == (504, True)
    assert answer.json()["type"].endswith(":turn_timeout")
    turn = await client.last_turn(session)
    assert [event["reason"] for event in turn if event["type"] == "user.interrupt"] == ["timeout"]
    assert turn[-1]["stop_reason"] == {"type": "end_turn", "interrupted": "timeout"}
    assert "session.error" not in [event["type"] for event in turn]
    assert "my name is Robin" in await client.recall(session)


async def test_a_spent_budget_ends_its_turn_and_the_next_one_has_it_whole_again(services: Services) -> None:
    dear = {"tool": "Bash", "input": {"command": "true"}, "usage": {"input_tokens": 120_000}}
    service = services.start(
        CLAUDE_AGENT_DEFAULTS_MAX_BUDGET_USD="0.4", CLAUDE_AGENT_DEFAULTS_MODEL="claude-opus-5-5"
    )
    async with Client(service.url) as client:
        session = await client.create("budget")
        await client.say(session, "my name is Robin")
        for number in range(2):
            assert await client.say(session, script({"text": f"cheap {number}"})) == f"cheap {number}"
            assert (await client.chat(session, script(dear, {"text": "never"}))).status_code == 200
            [*_, idle] = await client.last_turn(session)
            assert idle["stop_reason"] == {"type": "budget_reached"}
        assert await client.say(session, script({"text": "still here"})) == "still here"
        assert "my name is Robin" in await client.recall(session)


async def test_a_turn_outlives_its_client(client: Client) -> None:
    session = await client.create("leaves")
    chunks = client.chunks(session, script(tokens(100, 10)))
    assert (await anext(chunks))["type"] == "text_delta"
    await chunks.aclose()
    async with client.follow(session) as reader:
        await reader.until_type("session.status_idle")
    (message,) = (event for event in reader.events if event["type"] == "agent.message")
    assert message["content"][0]["text"] == said(100)
    assert reader.events[-1]["stop_reason"] == {"type": "end_turn"}


async def test_a_reader_that_comes_in_the_middle_gets_the_whole_answer(client: Client) -> None:
    session = await client.create("late")
    answer = asyncio.create_task(client.say(session, script(tokens(100, 10))))
    async with client.follow(session, deltas=True) as early:
        await early.until(lambda me: len(me.deltas) > 20)
        async with client.follow(session, deltas=True) as late:
            await late.until_type("session.status_idle")
        await early.until_type("session.status_idle")
    pieces = [one["delta"]["content"]["text"] for one in late.deltas if one["type"] == "event_delta"]
    assert "".join(pieces) == await answer == said(100)
    assert late.events == early.events


async def test_one_agent_process_serves_two_users_in_turn(services: Services) -> None:
    service = services.start(CLAUDE_AGENT_MAX_SESSIONS="1", CLAUDE_AGENT_MAX_CONCURRENT="1")
    async with Client(service.url) as client:
        ann, bob = await client.create("ann"), await client.create("bob")
        for session, name in ((ann, "Ann"), (bob, "Bob")):
            await client.say(session, f"my name is {name}")
        running = asyncio.create_task(client.say(ann, script(tokens(50, 20))))
        async with client.follow(ann) as reader:
            await reader.until(
                lambda me: me.events[-1:] != [] and me.events[-1]["type"].endswith("request_start")
            )
            refused = await client.chat(bob, "and me?")
            assert (refused.status_code, "limit of 1" in refused.json()["detail"]) == (429, True)
            assert int(refused.headers["Retry-After"]) > 0
        assert await running == said(50)
        assert "Bob" in await client.recall(bob)
        assert "Ann" in await client.recall(ann)
        assert (await client.http.get("/health")).json()["in_memory_clients"] == 1
