"""A database that takes connections and answers nothing: every wait for it has an end."""

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
from tests.postgres import PostgresServer, start_postgres
from tests.service.e2e.client import Client, assert_dense, script, tokens
from tests.service.e2e.service_process import ServiceProcess, Services
from tests.waiting import until

pytestmark = pytest.mark.tier("cli", "linux", "postgres")

DRAIN_SECONDS = 1
GRACE_SECONDS = 15  # that architecture.md gives the rest of a shutdown
LEASE_SECONDS = 2


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """One of its own, which may be stopped."""
    with start_postgres() as server:
        yield server


@pytest.fixture
def service(services: Services, server: PostgresServer) -> ServiceProcess:
    return services.start(
        CLAUDE_AGENT_SESSION_STORAGE="postgresql",
        CLAUDE_AGENT_SESSION_PG_HOST=str(server.socket_folder),
        CLAUDE_AGENT_SESSION_PG_DATABASE="postgres",
        CLAUDE_AGENT_DRAIN_SECONDS=str(DRAIN_SECONDS),
        CLAUDE_AGENT_SESSION_LEASE_SECONDS=str(LEASE_SECONDS),
    )


@contextmanager
def hung(server: PostgresServer) -> Iterator[None]:
    (lock,) = server.socket_folder.glob(".s.PGSQL.*.lock")
    postmaster = psutil.Process(int(lock.read_text().split()[0]))
    processes = [postmaster, *postmaster.children()]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


async def test_a_message_gets_its_answer_in_its_time(service: ServiceProcess, server: PostgresServer) -> None:
    async with Client(service.url) as client:
        live, cold = await client.create("live"), await client.create("cold")
        await client.say(live, "my name is Robin")
        with hung(server):
            for session in (live, cold):
                began = time.monotonic()
                answer = await client.chat(session, "are you there?", 2)
                assert (answer.status_code, time.monotonic() - began < 4) == (504, True), answer.text

        async def works() -> bool:
            return (await client.chat(live, "go on")).status_code == 200

        await until(works, 30)
        assert "my name is Robin" in await client.recall(live)
        assert_dense(await client.events(live))


async def test_a_shutdown_ends_in_its_time(service: ServiceProcess, server: PostgresServer) -> None:
    async with Client(service.url) as client:
        busy, idle = await client.create("busy"), await client.create("idle")
        await client.say(busy, "my name is Robin")
        await client.say(idle, "hello")
        async with client.follow(busy, deltas=True) as reader:
            chat = asyncio.create_task(client.chat(busy, script(tokens(300, 20))))
            await reader.until(lambda me: len(me.deltas) > 5)
            with hung(server):
                began = time.monotonic()
                service.kill(signal.SIGTERM)
                assert await asyncio.to_thread(service.wait, 120) == 0, service.log
                assert time.monotonic() - began < DRAIN_SECONDS + GRACE_SECONDS
                service.assert_nothing_left(1)
            seen = reader.events
        await asyncio.gather(chat, return_exceptions=True)
    service.start()
    async with Client(service.url) as client:

        async def is_run_again() -> bool:
            return "session.status_rescheduled" in [event["type"] for event in await client.events(busy)]

        await until(is_run_again, LEASE_SECONDS + 2)  # a lease that could not be given back runs out
        log = await client.events_when_idle(busy)
        assert_dense(log)
        assert [event for event in log if event["seq"] <= seen[-1]["seq"]] == seen
        assert "my name is Robin" in await client.recall(busy)
