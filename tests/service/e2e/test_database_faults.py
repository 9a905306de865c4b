"""A Postgres that crashes, cuts its connections or does not answer for 10 s, under two services on which each
session takes one turn with a tool after another: nothing that was acknowledged is lost or done twice, every
turn ends, and the sessions answer afterwards."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count

import psutil
import pytest
from tests.postgres import PostgresServer, start_postgres
from tests.proof import amount
from tests.service.e2e.client import Client, Follower, bash, said, script, tokens
from tests.service.e2e.fleet import to_event
from tests.service.e2e.service_process import ServiceProcess, Services
from tests.service.e2e.test_hung_database import hung
from tests.service.faults.history import History, Read, Sent
from tests.service.faults.invariants import broken
from tests.service.store.inspection import end_connections
from tests.waiting import until

pytestmark = [pytest.mark.tier("cli", "linux", "postgres"), pytest.mark.timeout(300)]

USERS = [f"user-{number}" for number in range(amount(2, 16))]
WITHOUT_A_TOOL = "-last"
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
            CLAUDE_AGENT_MAX_CONCURRENT="20",
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


@dataclass
class Talk:
    """One session and all that was said to it: each message has a number, as has the line its tool writes."""

    session: str
    user: str
    follower: Follower
    sent: list[Sent] = field(default_factory=list)

    @property
    def answered(self) -> set[str]:
        return {sent.text for sent in self.sent if sent.stored}

    async def go_on(self, clients: list[Client], over: asyncio.Event) -> None:
        """One turn behind the other, at each replica in turn."""
        for number in count():
            if over.is_set():
                return
            if not await self.say(clients[number % 2], f"m{number}- {turn(number)}"):
                await asyncio.sleep(0.2)

    async def say(self, client: Client, text: str) -> bool:
        """Whether it was answered whole."""
        response = await client.chat(self.session, text, 20)
        whole = response.status_code == 200 and response.headers["X-Stop-Reason"] == "end_turn"
        if whole:
            assert response.json()["text"].endswith(said(30))
        else:
            assert response.status_code in (200, 429, 500, 502, 503, 504, 507), response.text
        refused = response.status_code == 429
        self.sent.append(Sent(self.session, text, True if whole else False if refused else None))
        return whole


def turn(number: int) -> str:
    return script({"text": "first", **bash(f"echo m{number}- >> ran")}, tokens(30, 10))


@pytest.mark.parametrize("fault", [crash, cut, hold])
async def test_nothing_acknowledged_is_lost_and_every_turn_ends(
    pair: list[ServiceProcess], server: PostgresServer, proven: Counter[str], fault: Fault
) -> None:
    over = asyncio.Event()
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client(service.url)) for service in pair]
        sessions = [(await clients[0].create(user), user) for user in USERS]
        follow = clients[1].follow
        talks = [Talk(*one, await stack.enter_async_context(follow(one[0]))) for one in sessions]
        talking = [asyncio.create_task(talk.go_on(clients, over)) for talk in talks]
        await until(lambda: all(talk.answered for talk in talks), 60)
        await fault(server)
        await asyncio.sleep(3)
        over.set()
        await asyncio.gather(*talking)
        for talk in talks:
            await check(clients, talk, (pair[0].users / talk.user / "ran").read_text().split())
            proven["messages acknowledged while the database failed"] += len(talk.answered)
    for service in pair:
        service.kill(signal.SIGTERM)
        assert service.wait(60) == 0, service.log


async def check(clients: list[Client], talk: Talk, ran: list[str]) -> None:
    async def answers() -> bool:
        return await talk.say(clients[0], f"m{len(talk.sent)}{WITHOUT_A_TOOL} {script(tokens(30, 0))}")

    began = time.monotonic()
    await until(answers, 60)
    assert time.monotonic() - began < 40
    log = [to_event(told) for told in await clients[1].events_when_idle(talk.session)]
    seen = [to_event(told) for told in talk.follower.events]
    assert log[: len(seen)] == seen
    assert broken(History([*talk.sent, Read(talk.session, 0, seen)], {talk.session: log})) == []
    marks = {text.split()[0] for text in talk.answered}
    assert {mark for mark in marks if not mark.endswith(WITHOUT_A_TOOL)} <= set(ran)
    assert len(set(ran)) == len(ran), "a tool ran twice"
