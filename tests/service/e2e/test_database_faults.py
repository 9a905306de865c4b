"""A Postgres that crashes, cuts its connections or does not answer for 10 s, under two services with turns
under way: nothing that was acknowledged is lost, every turn ends, and the sessions answer afterwards."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack

import psutil
import pytest
from tests.postgres import PostgresServer, start_postgres
from tests.service.e2e.client import Client, Follower, assert_dense, said, script, tokens
from tests.service.e2e.service_process import ServiceProcess, Services
from tests.service.e2e.test_hung_database import hung
from tests.service.store.inspection import end_connections
from tests.waiting import until

pytestmark = [pytest.mark.tier("cli", "linux", "postgres"), pytest.mark.timeout(300)]

USERS = ("ann", "bob", "cyd")
TALK = script(tokens(30, 10))
Fault = Callable[[PostgresServer], Awaitable[None]]


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with start_postgres() as server:
        yield server


@pytest.fixture
def pair(services: Services, server: PostgresServer) -> list[ServiceProcess]:
    users = services.folder()
    made = []
    for _ in range(2):
        service = services.start(
            CLAUDE_AGENT_SESSION_STORAGE="postgresql",
            CLAUDE_AGENT_SESSION_PG_HOST=str(server.socket_folder),
            CLAUDE_AGENT_SESSION_PG_DATABASE="postgres",
            CLAUDE_AGENT_SESSION_LEASE_SECONDS="3",
            CLAUDE_AGENT_USER_BASE_DIR=str(users),
        )
        service.users = users
        made.append(service)
    return made


async def crash(server: PostgresServer) -> None:
    """kill -9 of one backend: the server ends all the others and recovers from its log."""
    (lock,) = server.socket_folder.glob(".s.PGSQL.*.lock")
    postmaster = psutil.Process(int(lock.read_text().split()[0]))
    backends = [one for one in postmaster.children() if "postgres postgres" in " ".join(one.cmdline())]
    backends[0].send_signal(signal.SIGKILL)


async def cut(server: PostgresServer) -> None:
    for _ in range(3):
        await end_connections(server.url("postgres"))
        await asyncio.sleep(0.5)


async def hold(server: PostgresServer) -> None:
    with hung(server):
        await asyncio.sleep(10)


@pytest.mark.parametrize("fault", [crash, cut, hold])
async def test_nothing_acknowledged_is_lost_and_every_turn_ends(
    pair: list[ServiceProcess], server: PostgresServer, fault: Fault
) -> None:
    over = asyncio.Event()
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client(service.url)) for service in pair]
        sessions = [await clients[0].create(user) for user in USERS]
        followers = [await stack.enter_async_context(clients[1].follow(session)) for session in sessions]
        talking = [asyncio.create_task(talk(clients, session, over)) for session in sessions]
        await asyncio.sleep(2)
        await fault(server)
        await asyncio.sleep(3)
        over.set()
        answered = await asyncio.gather(*talking)
        for session, count, follower in zip(sessions, answered, followers, strict=True):
            await check(clients, session, count, follower)
    for service in pair:
        service.kill(signal.SIGTERM)
        assert service.wait(60) == 0, service.log


async def talk(clients: list[Client], session: str, over: asyncio.Event) -> int:
    """One turn behind the other, at each replica in turn; how many were answered whole."""
    answered, number = 0, 0
    while not over.is_set():
        number += 1
        response = await clients[number % 2].chat(session, TALK, 20)
        if response.status_code == 200 and response.headers["X-Stop-Reason"] == "end_turn":
            assert response.json()["text"] == said(30)
            answered += 1
        else:
            assert response.status_code in (429, 500, 502, 503, 504, 507), response.text
            await asyncio.sleep(0.2)
    return answered


async def check(clients: list[Client], session: str, answered: int, follower: Follower) -> None:
    async def answers() -> bool:
        response = await clients[0].chat(session, script({"text": "still here"}), 20)
        return response.status_code == 200 and response.json()["text"] == "still here"

    began = time.monotonic()
    await until(answers, 60)
    assert time.monotonic() - began < 40
    log = await clients[1].events_when_idle(session)
    assert_dense(log)
    assert log[: len(follower.events)] == follower.events
    whole = [e for e in log if e["type"] == "agent.message" and e["content"][0]["text"] == said(30)]
    assert len(whole) >= answered > 0
    opened = [e["turn_id"] for e in log if e["type"] == "user.message"]
    ended = [e["turn_id"] for e in log if e["type"] == "session.status_idle"]
    assert opened == ended
