"""Several services on one Postgres and one disk: any answers, and what dies with one goes on in another."""

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count

import httpx
import pytest
from tests.proof import amount
from tests.service.e2e.client import Client, Event, Follower, assert_dense, bash, said, script, tokens
from tests.service.e2e.conftest import Storage
from tests.service.e2e.service_process import ServiceProcess, Services
from tests.waiting import until

pytestmark = [
    pytest.mark.tier("cli", "linux"),
    pytest.mark.timeout(600),
    pytest.mark.parametrize(
        "storage", [pytest.param("postgresql", marks=pytest.mark.tier("postgres"))], indirect=True
    ),
]

LEASE = 2
SAMPLES = amount(2, 50)
SAMPLES_A_TEST = amount(2, 5)
BEAT = "while :; do echo x >> beat; sleep 0.02; done"
# For 2.4 s, of which a loaded machine may gather a fifth of a second into one delta.
TALK = script(tokens(120, 20))
# Those in which an owner is killed. Only the last step uses no tool, for a reply without one ends the turn;
# it takes longer than a kill may be late.
LONG_TURNS = (
    script(
        {"thinking": "hm " * 20, "text": "first", "delay_ms": 1, **bash("echo one")},
        {"text": "and then", **bash("sleep 0.05; echo two")},
        tokens(400, 5),
    ),
    script(tokens(400, 5)),
)
MOST_ITEMS = 25  # Deltas are gathered: of 400 tokens come some 60.


class Replicas:
    """Services that share a database and the users' folder."""

    def __init__(self, services: Services, storage: Storage) -> None:
        self._services = services
        self._storage = storage
        self._users = services.folder()
        self.all: list[ServiceProcess] = []

    def start(self, **env: str) -> ServiceProcess:
        settings = {
            **self._storage.env,
            "CLAUDE_AGENT_REPLICAS": "3",
            "CLAUDE_AGENT_USER_BASE_DIR": str(self._users),
            "CLAUDE_AGENT_SESSION_LEASE_SECONDS": str(LEASE),
            "CLAUDE_AGENT_MAX_CONCURRENT": "20",
            "CLAUDE_AGENT_MAX_SESSIONS_PER_USER": "20",
            **env,
        }
        service = self._services.start(**settings)
        service.users = self._users
        self.all.append(service)
        return service


@pytest.fixture
def replicas(services: Services, storage: Storage) -> Replicas:
    return Replicas(services, storage)


@pytest.fixture
def pair(replicas: Replicas) -> tuple[ServiceProcess, ServiceProcess]:
    return replicas.start(), replicas.start()


@pytest.fixture
async def clients(pair: tuple[ServiceProcess, ServiceProcess]) -> AsyncIterator[tuple[Client, Client]]:
    async with Client(pair[0].url) as first, Client(pair[1].url) as second:
        yield first, second


Both = tuple[Client, Client]


def end(service: ServiceProcess) -> None:
    """kill -9; the other's agents live on."""
    service.kill()
    service.wait()


async def test_either_answers_for_a_session_and_its_agent_is_one(
    pair: tuple[ServiceProcess, ServiceProcess], clients: Both
) -> None:
    def agents() -> list[int]:
        return [len(service.launchers("ann")) for service in pair]

    a, b = clients
    session = await a.create("ann")
    await a.say(session, "my name is Robin")
    assert await b.say(session, "count to 3") == "1 2 3"
    assert agents() == [1, 0]
    assert "my name is Robin" in await b.recall(session)
    assert_dense(await a.events(session))
    busy = asyncio.create_task(b.say(session, script(tokens(100, 5))))
    await until_running(a, session)
    assert agents() == [1, 0]
    assert (await a.chat(session, "hello")).status_code == 429
    assert await busy == said(100)


async def until_running(client: Client, session: str) -> None:
    async def running() -> bool:
        return (await client.events(session))[-1]["type"] != "session.status_idle"

    await until(running, 10)


async def test_tokens_stream_from_either(clients: Both) -> None:
    a, b = clients
    session = await a.create()
    await a.say(session, "hello")
    pieces = [chunk["text"] async for chunk in b.chunks(session, TALK) if chunk["type"] == "text_delta"]
    assert "".join(pieces) == said(120)
    assert len(pieces) > 10, "they came in one piece"
    async with b.follow(session, deltas=True, last=0) as reader:
        answer = asyncio.create_task(a.say(session, TALK))
        await reader.until(lambda me: len(me.deltas) > 10)
        await answer
        log = await a.events(session)
        await reader.until(lambda me: len(me.events) == len(log))
    assert reader.events == log


async def test_a_timeout_and_an_interrupt_reach_the_turn_from_either(clients: Both) -> None:
    a, b = clients
    session = await a.create()
    await a.say(session, "hello")
    assert (await b.chat(session, script(tokens(4000, 5)), seconds=1)).status_code == 504
    assert await a.say(session, "count to 2") == "1 2"
    answer = asyncio.create_task(a.chat(session, script(tokens(4000, 5))))
    await until_running(b, session)
    response = await b.http.post(f"/api/v1/sessions/{session}/interrupt")
    assert response.json() == {"interrupted": True}
    assert (await answer).headers["X-Stop-Reason"] == "interrupted", await a.last_turn(session)


async def test_deleting_from_the_other_ends_the_agent_first(
    pair: tuple[ServiceProcess, ServiceProcess], clients: Both
) -> None:
    a, b = clients
    session = await a.create("ann")
    async with a.follow(session) as reader:
        turn = asyncio.create_task(a.chat(session, script(bash(BEAT))))
        await reader.until_type("agent.tool_started")
        beat = pair[0].users / "ann" / "beat"
        await until(beat.exists, 20)
        response = await b.http.delete(f"/api/v1/sessions/{session}")
        assert response.status_code == 204
        size = beat.stat().st_size
        assert await reader.until_ended() == "closed"
    await asyncio.gather(turn, return_exceptions=True)
    assert (await a.http.get(f"/api/v1/sessions/{session}")).status_code == 404
    assert beat.stat().st_size == size
    assert pair[0].inhabitants("ann") == []


@pytest.mark.parametrize("first", range(0, SAMPLES, SAMPLES_A_TEST))
async def test_the_owner_is_killed_anywhere_in_a_stream(
    replicas: Replicas,
    proven: Counter[str],
    measured: Callable[[str, float], None],
    first: int,
) -> None:
    """A reader that goes on at another replica sees every stored event once and in order; the next message
    works; the takeover takes no longer than the lease and 2 s."""
    owner, other = replicas.start(), replicas.start()
    for sample in range(first, first + SAMPLES_A_TEST):
        dice = random.Random(sample)
        seconds = await one_kill(owner, other, dice)
        assert seconds <= LEASE + 2, f"sample {sample}"
        measured(f"takeover of a killed owner's turn, seconds (lease {LEASE} s)", seconds)
        proven["owners killed in a stream"] += 1
        owner, other = other, replicas.start()
    for service in (owner, other):
        service.kill(signal.SIGTERM)
        assert service.wait() == 0


async def one_kill(owner: ServiceProcess, other: ServiceProcess, dice: random.Random) -> float:
    """How long after the kill the turn, which was running then, was in another's hands, in seconds."""
    items, moment = dice.randrange(1, MOST_ITEMS), dice.random() * 0.5
    async with Client(owner.url) as a, Client(other.url) as b:
        session = await a.create(f"user-{dice.randrange(10**6)}")
        async with a.follow(session, deltas=True) as reader:
            answer = asyncio.create_task(a.chat(session, dice.choice(LONG_TURNS)))
            await reader.until(lambda me: len(me.deltas) + len(me.events) >= items or is_idle(me))
            await asyncio.sleep(moment)
            end(owner)
            killed = time.monotonic()
            await reader.until_ended()
        await asyncio.gather(answer, return_exceptions=True)
        assert not is_idle(reader), f"the turn had ended before: {reader.events[-3:]}"
        async with b.follow(session, last=len(reader.events)) as again:
            await again.until(lambda me: bool(me.events), LEASE + 10)
            taken = time.monotonic() - killed
            log = await b.events_when_idle(session)
            await again.until(lambda me: len(reader.events) + len(me.events) == len(log))
        assert_dense(log)
        assert reader.events + again.events == log
        assert await b.say(session, script({"text": "still here"})) == "still here"
        return taken


def is_idle(reader: Follower) -> bool:
    return any(event["type"] == "session.status_idle" for event in reader.events)


async def test_a_paused_owner_writes_nothing_more_and_its_tools_have_stopped(
    pair: tuple[ServiceProcess, ServiceProcess], clients: Both
) -> None:
    (owner, other), (a, b) = pair, clients
    session = await a.create("ann")
    async with b.follow(session) as reader:
        turn = asyncio.create_task(a.chat(session, script(bash(BEAT), bash("echo again >> beat"))))
        await reader.until_type("agent.tool_started")
        beat = owner.users / "ann" / "beat"
        await until(lambda: beat.exists() and beat.stat().st_size > 20, 20)
        owner.kill(signal.SIGSTOP)
        await reader.until_type("session.status_idle", LEASE + 10)
        assert owner.inhabitants("ann") == [], "its agent still runs"
        size = beat.stat().st_size
        log = await b.events(session)
        assert log[-2]["type"] == "session.usage" or log[-2]["type"] == "session.error"
        assert await b.say(session, "count to 2") == "1 2"
        after = await b.events(session)
        owner.kill(signal.SIGCONT)
        await asyncio.gather(turn, return_exceptions=True)

        async def answers() -> bool:
            return (await a.http.get("/readyz")).status_code == 200

        await until(answers, 20)
        assert await a.say(session, "count to 3") == "1 2 3"
        assert beat.stat().st_size == size
        final = await a.events(session)
    assert_dense(final)
    assert final[: len(after)] == after
    assert other.exit_code is None


@dataclass
class Load:
    """Turns in all sessions, one after the other in each, at whichever replica takes them. `answered` and
    `refused` are the messages that were, all different."""

    answered: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, urls: Sequence[str], sessions: Sequence[str]) -> None:
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(Client(url)) for url in urls]
            await asyncio.gather(*(self._talk(clients, each, random.Random(each)) for each in sessions))

    async def _talk(self, clients: Sequence[Client], session: str, dice: random.Random) -> None:
        for number in count():
            if self.over.is_set():
                return
            await self._say(dice.choice(clients), session, f"{session} {number}: {script(tokens(40, 5))}")

    async def _say(self, client: Client, session: str, message: str) -> None:
        try:
            response = await client.chat(session, message, 30)
        except httpx.ConnectError:  # not there at the moment: a load balancer asks another
            self.refused.append(message)
            await asyncio.sleep(0.05)
        except httpx.TransportError as error:
            self.failures.append(repr(error))
        else:
            if response.status_code in (429, 503) and "Retry-After" in response.headers:
                self.refused.append(message)
                await asyncio.sleep(0.2)
            elif response.status_code == 200 and response.json()["text"] == said(40):
                self.answered.append(message)
            else:
                self.failures.append(f"{response.status_code} {response.text[:300]}")


async def test_a_rolling_restart_of_three_under_load_fails_no_request(replicas: Replicas) -> None:
    services = [replicas.start() for _ in range(3)]
    async with Client(services[0].url) as client:
        sessions = [await client.create(f"user-{number}") for number in range(4)]
    load = Load()
    loading = asyncio.create_task(load.run([service.url for service in services], sessions))
    for service in services:
        await asyncio.sleep(2)
        service.kill(signal.SIGTERM)
        assert await asyncio.to_thread(service.wait, 60) == 0, service.log
        await asyncio.to_thread(service.start, same_port=True)
    await asyncio.sleep(2)
    load.over.set()
    await loading
    assert load.failures == []
    assert len(load.answered) > 10
    stored: Counter[str] = Counter()
    async with Client(services[0].url) as client:
        for session in sessions:
            log = await client.events_when_idle(session)
            assert_dense(log)
            assert ends_of(log) == [{"type": "end_turn"}]
            stored += Counter(event["content"][0]["text"] for event in log if event["type"] == "user.message")
    assert stored == Counter(load.answered)  # each once, and none that was refused


def ends_of(log: list[Event]) -> list[Event]:
    """How turns ended, each way once."""
    ends = [event["stop_reason"] for event in log if event["type"] == "session.status_idle"]
    return [end for number, end in enumerate(ends) if end not in ends[:number]]
