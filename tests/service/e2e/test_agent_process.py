"""An agent process that is killed, stopped or leaves children: the turn says so and the session goes on."""

import asyncio
import signal
import time
from pathlib import Path

import httpx
import pytest
from tests.service.e2e.client import Client, assert_dense, bash, script, tokens
from tests.service.e2e.service_process import ServiceProcess
from tests.waiting import until

pytestmark = pytest.mark.tier("cli", "linux")

IDLE = "session.status_idle"
DAEMON = "setsid sh -c 'while :; do echo x >> beat; sleep 0.02; done' >/dev/null 2>&1 & echo started"


@pytest.mark.parametrize("victim", ["cli", "launcher"])
async def test_a_killed_process_ends_its_turn_alone(
    shared_service: ServiceProcess, client: Client, victim: str
) -> None:
    user = f"killed-{victim}"
    session = await client.create(user)
    await client.say(session, "my name is Robin")
    first = (await client.events(session))[-1]["turn_id"]
    async with client.follow(session, deltas=True) as reader:
        told = {"input_tokens": 1234, "output_tokens": 5}
        message = script({**bash("true"), "usage": told}, tokens(3000, 5))
        answer = asyncio.create_task(client.chat(session, message))
        await reader.until(lambda me: len(me.deltas) > 5)
        process = shared_service.cli(user) if victim == "cli" else shared_service.launcher(user)
        process.kill()
        assert_died(await answer)
        await reader.until(lambda me: me.events[-1]["turn_id"] != first and me.events[-1]["type"] == IDLE)
    (error,) = (event["error"] for event in reader.events if event["type"] == "session.error")
    assert error["type"] == "runtime_died_error"
    assert reader.events[-1]["stop_reason"]["type"] == "retries_exhausted"
    turn = await client.last_turn(session)
    (used,) = (event["usage"] for event in turn if event["type"] == "session.usage")
    assert (used["input_tokens"], used["output_tokens"]) == (1234, 5)
    requests = [event for event in turn if event["type"].startswith("span.")]
    assert [event.get("is_error") for event in requests] == [None, False, None, True]
    assert "my name is Robin" in await client.recall(session)
    assert_dense(await client.events(session))


async def test_a_process_that_died_while_idle_is_replaced_unseen(
    shared_service: ServiceProcess, client: Client
) -> None:
    session = await client.create("idle-death")
    await client.say(session, "my name is Robin")
    dead = shared_service.cli("idle-death")
    dead.kill()
    await until(lambda: not dead.is_running())
    assert "my name is Robin" in await client.recall(session)
    assert "session.error" not in {event["type"] for event in await client.events(session)}


async def test_a_stopped_process_runs_into_the_timeout(
    shared_service: ServiceProcess, client: Client
) -> None:
    session = await client.create("stopped")
    await client.say(session, "my name is Robin")
    stopped = shared_service.cli("stopped")
    stopped.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    answer = await client.chat(session, "are you there?", 1)
    assert (answer.status_code, time.monotonic() - began < 10) == (504, True)
    assert "timeout of 1 s" in answer.json()["detail"]
    assert "my name is Robin" in await client.recall(session)
    assert not stopped.is_running()
    assert "user.interrupt" in {event["type"] for event in await client.events(session)}


async def test_a_child_that_left_its_tree_ends_with_a_crash(
    shared_service: ServiceProcess, client: Client
) -> None:
    session = await client.create("daemon-crash")
    beat = await start_daemon(shared_service, client, session, "daemon-crash")
    async with client.follow(session, deltas=True) as reader:
        answer = asyncio.create_task(client.chat(session, script(tokens(3000, 5))))
        await reader.until(lambda me: bool(me.deltas))
        shared_service.cli("daemon-crash").kill()
        assert_died(await answer)
    assert await client.say(session, script({"text": "back"})) == "back"
    await until_still(beat)


async def test_a_child_that_left_its_tree_ends_though_its_launcher_was_killed(
    shared_service: ServiceProcess, client: Client
) -> None:
    user = "daemon-launcher"
    session = await client.create(user)
    start = "(setsid sleep 1000 >/dev/null 2>&1 &)"
    assert await client.say(session, script(bash(start), {"text": "started"})) == "started"
    await until(lambda: "sleep" in names(shared_service, user))
    shared_service.launcher(user).kill()
    await until(lambda: shared_service.inhabitants(user) == [])
    assert "script" in await client.recall(session)


async def test_a_child_that_left_its_tree_ends_with_its_session(
    shared_service: ServiceProcess, client: Client
) -> None:
    session = await client.create("daemon-delete")
    beat = await start_daemon(shared_service, client, session, "daemon-delete")
    assert (await client.http.delete(f"/api/v1/sessions/{session}")).status_code == 204
    assert [one for one in shared_service.inhabitants() if one.cwd().endswith("daemon-delete")] == []
    await until_still(beat)


async def test_an_agent_that_stops_its_launcher_ends_with_its_session_all_the_same(
    shared_service: ServiceProcess, client: Client
) -> None:
    session = await client.create("stopper")
    beat = await start_daemon(shared_service, client, session, "stopper")
    launcher, cli = shared_service.launcher("stopper"), shared_service.cli("stopper")
    launcher.send_signal(signal.SIGSTOP)
    assert (await client.http.delete(f"/api/v1/sessions/{session}")).status_code == 204
    assert [process.is_running() for process in (launcher, cli)] == [False, False]
    assert shared_service.inhabitants("stopper") == []
    await until_still(beat)


async def test_a_child_that_left_its_tree_ends_when_the_session_hibernates(
    shared_service: ServiceProcess, client: Client
) -> None:
    user = "daemon-hibernate"
    first = await client.create(user)
    beat = await start_daemon(shared_service, client, first, user)
    others = [await client.create(user), await client.create(user)]
    for number, session in enumerate(others):
        await client.say(session, f"my name is Robin {number}")
    await until_still(beat)
    for number, session in enumerate(others):
        assert f"my name is Robin {number}" in await client.recall(session)
    assert "script" in await client.recall(first)


async def start_daemon(service: ServiceProcess, client: Client, session: str, user: str) -> Path:
    assert await client.say(session, script(bash(DAEMON), {"text": "{{tool_result}}"})) == "started"
    beat = service.users / user / "beat"
    await until(lambda: size_of(beat) > 20)
    size = size_of(beat)
    await until(lambda: size_of(beat) > size)
    return beat


def names(service: ServiceProcess, user: str) -> set[str]:
    return {one.name() for one in service.inhabitants(user)}


async def until_still(beat: Path) -> None:
    """Nobody writes there any more: it keeps its size over ten times the pause of the writer."""
    async with asyncio.timeout(10):
        while size_of(beat) != await size_later(beat):
            pass


async def size_later(beat: Path) -> int:
    await asyncio.sleep(0.2)
    return size_of(beat)


def size_of(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def assert_died(answer: httpx.Response) -> None:
    assert answer.status_code == 502
    assert answer.json()["type"].endswith(":runtime_died")
