"""Real services on one database, what happens to them, and what was seen of that."""

import asyncio
import random
import re
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import asyncpg
import httpx
from tests.service.e2e.agents_seen import AgentsSeen
from tests.service.e2e.client import Client, Follower, bash, script, tokens
from tests.service.e2e.client import Event as Json
from tests.service.e2e.database_facts import facts_of, rows_of
from tests.service.e2e.service_process import ServiceProcess
from tests.service.faults.history import Agent, Claimed, Deleted, Fact, History, Ran, Read, Sent, Told
from tests.waiting import until

from claude_agent_http.domain.event import TOOL_USES, Event, EventType
from claude_agent_http.domain.turn import StopReason, TurnEnd
from claude_agent_http.domain.vocabulary import text_of

_LIMIT_SECONDS = 60
_CREATE_SECONDS = 10
_ENVELOPE = ("seq", "id", "type", "session_id", "turn_id", "processed_at")
_LOOK_SECONDS = 0.05


def to_event(told: Json) -> Event:
    data = {name: value for name, value in told.items() if name not in _ENVELOPE}
    at = datetime.fromisoformat(told["processed_at"])
    kind = EventType(told["type"])
    return Event(told["session_id"], told["seq"], told["id"], kind, data, told["turn_id"], at)


@dataclass
class Reader:
    """One who reads a session from its beginning, over several connections."""

    session: str
    events: list[Json] = field(default_factory=list)
    follower: Follower | None = None

    async def connect(self, client: Client) -> None:
        """With Last-Event-ID, from the second time on."""
        await self.leave()
        self.follower = client.follow(self.session, last=len(self.events) or None)
        await self.follower.__aenter__()

    async def leave(self) -> None:
        if self.follower is not None:
            await self.follower.__aexit__()
            self.events += self.follower.events
            self.follower = None

    def has_seen(self, count: int) -> bool:
        return len(self.events) + (len(self.follower.events) if self.follower else 0) >= count


@dataclass(frozen=True, slots=True)
class Answer:
    """What `/chat` answered, with 200, and the reason of the turn's end that it gave."""

    session: str
    text: str
    reason: str


class Fleet:
    """`services` and what clients do with them. A session has a user of its own, and so a folder. The
    `database` is watched (`database_facts`), the host's processes are from here."""

    def __init__(self, services: Sequence[ServiceProcess], database: str, dice: random.Random) -> None:
        self.services = services
        self.clients = [Client(service.url) for service in services]
        self.sent: list[Sent] = []
        self.answers: list[Answer] = []
        self.deleted: list[Deleted] = []
        self.readers: list[Reader] = []
        self.users: dict[str, str] = {}
        self.doomed: set[str] = set()
        self.stopped: set[int] = set()
        self._database = database
        self._dice = dice
        self._requests: list[asyncio.Task[None]] = []
        self._agents = AgentsSeen(services[0].users)
        self._looking = asyncio.create_task(self._look_for_ever())

    # What clients do.

    async def create(self) -> None:
        """A replica that is paused or dies may have made a session all the same, whose id nobody learns: each
        try is another user's, or that session's agent would be taken for one of this session."""
        for attempt, client in enumerate([self._client(), *self.clients]):
            user = f"user-{len(self.users)}-{attempt}"
            with suppress(httpx.TransportError, AssertionError, TimeoutError):
                async with asyncio.timeout(_CREATE_SECONDS):
                    self.users[await client.create(user)] = user
                return

    async def send(self) -> None:
        session, number = self._session(), len(self._requests)
        text = f"m{number}- {self._dice.choice(_PLAYS)}".replace("MARK", f"m{number}-")
        self._begin(self._send(self._client(), session, text))

    async def read(self) -> None:
        reader = Reader(self._session())
        self.readers.append(reader)
        await reader.connect(self._client())

    async def move(self) -> None:
        if self.readers:
            await self._dice.choice(self.readers).connect(self._client())

    async def interrupt(self) -> None:
        self._begin(self._ask("POST", f"/api/v1/sessions/{self._session()}/interrupt"))

    async def delete(self) -> None:
        if len(self.users) > len(self.doomed) + 1:
            self.doomed.add(session := self._session())
            self._begin(self._delete(session))

    # What happens to the replicas.

    async def kill(self) -> None:
        number = self._number()
        if self.services[number].exit_code is None:
            self.services[number].kill()
            await asyncio.to_thread(self.services[number].wait)
            self.stopped.discard(number)

    async def terminate(self) -> None:
        number = self._number()
        if number not in self.stopped and self.services[number].exit_code is None:
            self.services[number].kill(signal.SIGTERM)

    async def pause(self) -> None:
        number = self._number()
        if self.services[number].exit_code is None:
            self.services[number].kill(signal.SIGSTOP)
            self.stopped.add(number)

    async def go_on(self) -> None:
        for number in [*self.stopped]:
            self.services[number].kill(signal.SIGCONT)
            self.stopped.discard(number)

    async def start_again(self) -> None:
        for service in self.services:
            if service.exit_code is not None:
                await asyncio.to_thread(service.start, same_port=True)

    async def drop_connections(self) -> None:
        client = await asyncpg.connect(self._database)
        await client.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await client.close()

    # What must come of it.

    async def settle(self) -> History:
        """Nothing is in the way any more: every turn ends, every session answers, every reader has it all."""
        await self.go_on()
        for service in self.services:
            await until(partial(_is_sound, service), _LIMIT_SECONDS)
        async with asyncio.timeout(_LIMIT_SECONDS):
            await asyncio.gather(*self._requests)
        logs: dict[str, list[Json]] = {}
        for session in self.users:
            if await self._exists(session):
                await self._client().events_when_idle(session, _LIMIT_SECONDS)
                await self._talk(session)
                logs[session] = await self._client().events(session)
        self.readers += [Reader(session) for session in logs]
        for reader in self.readers:
            await reader.connect(self._client())
            await until(partial(reader.has_seen, len(logs.get(reader.session, ()))), _LIMIT_SECONDS)
        await self._delete_at_work()
        return await self._history(logs)

    async def close(self) -> None:
        for task in [self._looking, *self._requests]:
            task.cancel()
        await asyncio.gather(self._looking, *self._requests, return_exceptions=True)
        for reader in self.readers:
            await reader.leave()
        for client in self.clients:
            await client.http.aclose()

    async def _exists(self, session: str) -> bool:
        answer = await self._client().http.get(f"/api/v1/sessions/{session}")
        if answer.status_code == 404:
            return False
        assert answer.status_code == 200, answer.text
        return True

    async def _talk(self, session: str) -> None:
        async def answers() -> bool:
            text = f"m{len(self._requests)}- {script({'text': 'still here'})}"
            self._begin(self._send(self._client(), session, text))
            await self._requests[-1]
            return self.sent[-1].stored is True

        await until(answers, _LIMIT_SECONDS)

    async def _delete_at_work(self) -> None:
        """One whose agent runs a tool that would go on for long."""
        await self.create()
        session = list(self.users)[-1]
        self.doomed.add(session)
        text = f"last- {script(bash(_TOOL.replace('MARK', 'last-') + '; sleep 30'))}"
        self._begin(self._send(self._client(), session, text))
        await until(lambda: bool(self._lines(session)), _LIMIT_SECONDS)
        await self._delete(session)
        assert self.deleted[-1].session == session, "a session is not deleted though nothing is in the way"
        await self._requests[-1]

    async def _history(self, logs: dict[str, list[Json]]) -> History:
        for reader in self.readers:
            await reader.leave()
        await asyncio.to_thread(self._agents.look)
        events = {session: [to_event(told) for told in log] for session, log in logs.items()}
        doomed = frozenset(self.doomed)
        facts: list[Fact] = [*self.sent, *self.deleted]
        facts += facts_of(await rows_of(self._database), events, doomed)
        facts += [Read(one.session, 0, [to_event(told) for told in one.events]) for one in self.readers]
        facts += _told(self.answers, events)
        agents = self._agents_of({user: session for session, user in self.users.items()}, facts)
        facts += agents.values()
        for session in self.users:
            facts += _runs(session, events.get(session, ()), self._lines(session), agents)
        return History(facts, events, doomed, is_settled=True, created=tuple(self.users))

    def _agents_of(self, sessions: dict[str, str], facts: Sequence[Fact]) -> dict[int, Agent]:
        """By pid; each under the lease that its session had when it was seen first."""
        claims = [fact for fact in facts if isinstance(fact, Claimed)]
        agents: dict[int, Agent] = {}
        for seen in self._agents.all:
            if (session := sessions.get(seen.user)) is None:
                continue
            epochs = [each.epoch for each in claims if each.session == session and each.at < seen.first]
            end = None if seen.lives else seen.last
            agents[seen.pid] = Agent(session, max(epochs, default=0), seen.first, end)
        return agents

    def _lines(self, session: str) -> list[str]:
        """What the tools of a session wrote."""
        file = self.services[0].users / self.users[session] / "ran"
        return file.read_text().splitlines() if file.exists() else []

    def _begin(self, request: Any) -> None:
        self._requests.append(asyncio.create_task(request))

    async def _send(self, client: Client, session: str, text: str) -> None:
        stored: bool | None = None
        with suppress(httpx.TransportError):
            answer = await client.chat(session, text, 30)
            refused = answer.status_code in (404, 409, 429) or "draining" in answer.text
            stored = True if answer.status_code == 200 else False if refused else None
            if stored:
                self.answers.append(Answer(session, text, answer.headers["X-Stop-Reason"]))
        self.sent.append(Sent(session, text, stored))

    async def _ask(self, method: str, path: str) -> None:
        with suppress(httpx.TransportError):
            await self._client().http.request(method, path)

    async def _delete(self, session: str) -> None:
        with suppress(httpx.TransportError):
            answer = await self._client().http.delete(f"/api/v1/sessions/{session}")
            if answer.status_code == 204:
                self.deleted.append(Deleted(session, time.time()))

    async def _look_for_ever(self) -> None:
        """Which agents there are."""
        while True:
            await asyncio.to_thread(self._agents.look)
            await asyncio.sleep(_LOOK_SECONDS)

    def _number(self) -> int:
        return self._dice.randrange(len(self.services))

    def _client(self) -> Client:
        """Of a replica that takes connections, as a load balancer finds one; it may be paused."""
        pairs = zip(self.clients, self.services, strict=True)
        there = [client for client, service in pairs if service.exit_code is None]
        return self._dice.choice(there or self.clients)

    def _session(self) -> str:
        return self._dice.choice(list(self.users))


# Each run says which agent's it is, and when.
_TOOL = "echo MARK $PPID $(date +%s.%N) >> ran"
_PLAYS = (
    script(tokens(30, 5)),
    script(tokens(300, 5)),
    script({"thinking": "hm", "text": "first"}, {"text": "then", **bash(_TOOL)}),
    script(bash(f"{_TOOL}; sleep 1"), {"text": "well"}, bash(_TOOL.replace("MARK", "MARKagain"))),
    script(tokens(20, 5), {"status": 529, "times": 1}, {"text": "after an overload"}),
)


def _is_sound(service: ServiceProcess) -> bool:
    """One that ends, or has ended, is started again."""
    if service.exit_code is not None:
        service.start(same_port=True)
    return service.is_ready()


def _told(answers: Sequence[Answer], logs: dict[str, list[Event]]) -> Iterator[Told]:
    for answer in answers:
        if answer.reason != "interrupted":
            for turn in _turns(logs.get(answer.session, ()), answer.text):
                yield Told(answer.session, turn, TurnEnd(StopReason(answer.reason)))


def _turns(log: Sequence[Event], text: str) -> list[str]:
    """Of that message."""
    messages = (event for event in log if event.type is EventType.USER_MESSAGE)
    return [message.id for message in messages if text_of(message.data) == text]


def _runs(
    session: str, log: Sequence[Event], lines: Sequence[str], agents: dict[int, Agent]
) -> Iterator[Ran]:
    """Each line as a run of the tool use that was to write it: of those that have started first."""
    started = {event.data["tool_use_id"] for event in log if event.type is EventType.AGENT_TOOL_STARTED}
    marks = [line.split() for line in lines]
    for name in dict.fromkeys(mark[0] for mark in marks):
        command = re.compile(rf"echo {name} ")
        uses = [
            event.data["tool_use_id"]
            for event in log
            if event.type in TOOL_USES and command.search(event.data["input"].get("command", ""))
        ]
        uses.sort(key=lambda use: use not in started)
        for number, (_, pid, at) in enumerate(mark for mark in marks if mark[0] == name):
            use = uses[number] if number < len(uses) else f"nobody's {name} {number}"
            agent = agents.get(int(pid))
            yield Ran(session, use, None if agent is None else agent.epoch, float(at))
