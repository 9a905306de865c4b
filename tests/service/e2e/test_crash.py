"""kill -9 of the service: what a client saw is there after the restart, and no process outlives it."""

import asyncio
import random
import shutil
from collections import Counter

import pytest
from tests.proof import amount
from tests.service.e2e.client import Client, Event, Follower, assert_dense, bash, said, script, tokens
from tests.service.e2e.conftest import Storage
from tests.service.e2e.service_process import ServiceProcess, Services
from tests.waiting import until

pytestmark = [pytest.mark.tier("cli", "linux"), pytest.mark.timeout(300)]

SAMPLES = amount(3, 50)
SAMPLES_A_TEST = amount(3, 5)
BEAT = "while :; do echo x >> beat; sleep 0.02; done"


@pytest.fixture
def service(services: Services, storage: Storage) -> ServiceProcess:
    return services.start(**storage.env)


async def check_after_restart(service: ServiceProcess, session: str, reader: Follower) -> list[Event]:
    """The log holds what the reader saw, the turn comes to its end, a reconnected reader gets the rest."""
    async with Client(service.url) as client:
        log = await client.events_when_idle(session)
        assert_dense(log)
        assert log[: len(reader.events)] == reader.events
        assert reader.ids == [event["seq"] for event in reader.events]
        missed = log[len(reader.events) :]
        async with client.follow(session, last=len(reader.events)) as again:
            await again.until(lambda me: len(me.events) >= len(missed))
            assert again.events == missed
        return log


SPAN = ("span.model_request_start", "span.model_request_end")


def assert_run_again(log: list[Event]) -> None:
    """From its message, as if nothing had happened but for what the log tells."""
    last = [event for event in log if event["turn_id"] == log[-1]["turn_id"]]
    types = [event["type"] for event in last]
    again = types.index("session.status_rescheduled")
    assert types[again - 2 : again + 2] == [
        "span.model_request_end",
        "session.error",
        "session.status_rescheduled",
        "session.status_running",
    ]
    assert last[again - 1]["error"]["retry_status"]["type"] == "retrying"
    assert last[-1]["stop_reason"] == {"type": "end_turn"}


def assert_cut(log: list[Event]) -> None:
    last = [event for event in log if event["turn_id"] == log[-1]["turn_id"]]
    error, idle = (event for event in last[-3:] if event["type"] in ("session.error", "session.status_idle"))
    assert (error["type"], error["error"]["type"]) == ("session.error", "service_restarted_error")
    assert (idle["type"], idle["stop_reason"]["interrupted"]) == ("session.status_idle", "restart")
    starts, ends = ([event for event in last if event["type"] == kind] for kind in SPAN)
    assert [end["model_request_start_id"] for end in ends] == [start["id"] for start in starts]
    used = [event["usage"]["input_tokens"] for event in last if event["type"] == "session.usage"]
    assert sum(used) == sum(end["model_usage"]["input_tokens"] for end in ends)


@pytest.mark.in_proofs(storage="postgresql")
async def test_a_turn_cut_while_its_tokens_flow(service: ServiceProcess) -> None:
    async with Client(service.url) as client:
        session = await client.create()
        await client.say(session, "my name is Robin")
        async with client.follow(session, deltas=True) as reader:
            answer = asyncio.create_task(client.chat(session, script(tokens(400, 5))))
            await reader.until(lambda me: len(me.deltas) > 30)
            service.crash()
            assert await reader.until_ended() == "cut"
        await asyncio.gather(answer, return_exceptions=True)
    assert reader.events[-1]["type"] == "span.model_request_start"
    service.start()
    log = await check_after_restart(service, session, reader)
    assert_run_again(log)
    [answered] = [event for event in log if event["type"] == "agent.message"][-1:]
    assert answered["content"][0]["text"] == said(400)
    async with Client(service.url) as client:
        recalled = await client.recall(session)
        assert "my name is Robin" in recalled
        assert recalled.count("(script)") == 1, "the conversation holds the message twice"
        assert_dense(await client.events(session))


@pytest.mark.in_proofs(storage="sqlite")
async def test_a_turn_cut_while_bash_runs(service: ServiceProcess) -> None:
    async with Client(service.url) as client:
        session = await client.create()
        async with client.follow(session) as reader:
            loop = script(bash(f"setsid sh -c '{BEAT}' & {BEAT}"), {"text": "never"})
            answer = asyncio.create_task(client.chat(session, loop))
            await reader.until_type("agent.tool_started")
            beat = service.users / "ann" / "beat"
            await until(lambda: beat.exists() and beat.stat().st_size > 20, 20)
            service.crash()
        await asyncio.gather(answer, return_exceptions=True)
    size = beat.stat().st_size
    service.start()
    assert_cut(await check_after_restart(service, session, reader))
    async with Client(service.url) as client:
        assert await client.say(session, script({"text": "on again"})) == "on again"
    assert beat.stat().st_size == size


@pytest.mark.parametrize("first", range(0, SAMPLES, SAMPLES_A_TEST))
async def test_turns_cut_anywhere(service: ServiceProcess, proven: Counter[str], first: int) -> None:
    """Seeded points: after some items of a turn, counted over its deltas and events, and a moment more."""
    turn = script(
        {"thinking": "hm " * 20, **bash("echo one; seq 200"), "delay_ms": 1},
        {"text": "and then", **bash("sleep 0.05; echo two")},
        tokens(60, 2),
    )
    for sample in range(first, first + SAMPLES_A_TEST):
        dice = random.Random(sample)
        await one_sample(service, turn, dice.randrange(1, 90), dice.random() * 0.03)
        proven["kill points"] += 1


async def one_sample(service: ServiceProcess, turn: str, items: int, moment: float) -> None:
    async with Client(service.url) as client:
        session = await client.create("ann")
        async with client.follow(session, deltas=True) as reader:
            answer = asyncio.create_task(client.chat(session, turn))
            await reader.until(lambda me: len(me.deltas) + len(me.events) >= items or idle(me))
            await asyncio.sleep(moment)
            service.crash()
            await reader.until_ended()
        await asyncio.gather(answer, return_exceptions=True)
    service.start()
    log = await check_after_restart(service, session, reader)
    assert log[-1]["type"] == "session.status_idle"
    async with Client(service.url) as client:
        assert await client.say(session, script({"text": "still here"})) == "still here"
        after = await client.events(session)
        assert_dense(after)
        assert after[: len(log)] == log


def idle(reader: Follower) -> bool:
    return any(event["type"] == "session.status_idle" for event in reader.events)


@pytest.mark.in_proofs(storage="postgresql")
async def test_a_conversation_goes_on_where_its_workspace_was_removed(service: ServiceProcess) -> None:
    async with Client(service.url) as client:
        session = await client.create(subdir="project/a")
        await client.say(session, "my name is Robin")
    service.stop()
    shutil.rmtree(service.users / "ann")
    service.start()
    async with Client(service.url) as client:
        assert "my name is Robin" in await client.recall(session)
        assert "project/a" in await client.say(session, "run: pwd")


async def test_a_session_is_not_run_on_a_disk_that_is_not_its_own(service: ServiceProcess) -> None:
    """Where one process owns the database there is no other that could have the files."""
    async with Client(service.url) as client:
        session = await client.create()
        await client.say(session, "my name is Robin")
    service.stop()
    shutil.rmtree(service.users)
    service.start()
    async with Client(service.url) as client:
        answer = await client.chat(session, "what did I say?")
    if service.env.get("CLAUDE_AGENT_SESSION_STORAGE") == "postgresql":
        assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (503, "files_elsewhere")
        assert "put it back or DELETE" in answer.json()["detail"]
    else:
        assert "my name is Robin" in answer.json()["text"]
