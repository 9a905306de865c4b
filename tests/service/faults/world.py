"""A few replicas on one database, their clients, and what happens to them."""

import asyncio
import random
import uuid
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from tests.service.engine.machine_world import AnyWorkspace
from tests.service.faults.clients import Message, Reader, delete
from tests.service.faults.history import Fact, History
from tests.service.faults.replica import Replica
from tests.service.faults.times import Loop, Time
from tests.service.faults.watched import Agents, Line, WatchedStore

from claude_agent_http.domain.errors import SessionNotFoundError
from claude_agent_http.domain.event import Event
from claude_agent_http.domain.session import Session
from claude_agent_http.engine import Engine, Limits, NewSession
from claude_agent_http.ports import Ids, Store
from claude_agent_http.runtime.fake import Cut, Die, Hang, Say, Step, UseTool, Wait

PLAYS = ("say", "say", "slow", "slow", "tool", "tools", "tools", "cut", "die", "hang", "deaf")
_PAGE = 100_000
Request = Callable[[Engine, str], Coroutine[Any, Any, Any]]


class Place(Protocol):
    """A database, the time it goes by, and ids that it has not seen."""

    @property
    def time(self) -> Time: ...
    @property
    def ids(self) -> Ids: ...

    def connect(self, loop: Loop) -> tuple[Store, Callable[[], Coroutine[Any, Any, None]]]:
        """A replica's store, not opened, and what cuts all its connections at once."""
        ...

    async def lag(self) -> None:
        """What a call of the store takes beside its work."""
        ...

    def drop_connections(self) -> None:
        """Of every replica, which may connect again."""
        ...

    def ask(self, question: Callable[[Store], Coroutine[Any, Any, Any]]) -> Any:
        """The database itself, past every replica."""
        ...


class World:
    """`slots` are places of replicas. Steps name them, sessions and readers by any number."""

    def __init__(self, place: Place, limits: Limits, dice: random.Random, slots: int = 3) -> None:
        self.place = place
        self.time = place.time
        self.limits = limits
        self.dice = dice
        self.record: list[Fact] = []
        self.messages: list[tuple[Replica, Message]] = []
        self.readers: list[tuple[Replica, Reader]] = []
        self.asked: list[str] = []
        self.created: list[str] = []
        self.doomed: set[str] = set()
        self.complaints: list[str] = []
        self._waits: list[asyncio.Event] = []
        self.replicas = [self._start() for _ in range(slots)]

    # What clients do.

    def create(self, slot: int, user: str) -> None:
        session = str(uuid.UUID(int=self.dice.getrandbits(128), version=4))

        async def creation(engine: Engine) -> None:
            await engine.create(NewSession(user, session_id=session))
            if not replica.over:
                self.created.append(session)

        if (replica := self._serving(slot)) is not None:
            self.asked.append(session)
            replica.ask("create", creation(replica.engine))

    def send(self, slot: int, number: int, play: str, seconds: float | None = None) -> Message | None:
        """None when nobody serves there."""
        replica, session = self._serving(slot), self._session(number)
        if replica is None or session is None:
            return None
        message = Message(session, f"{play} {len(self.messages)}", seconds)
        self.messages.append((replica, message))
        replica.ask(f"send {message.text}", message.send(replica.engine))
        return message

    def follow(self, slot: int, number: int, deltas: bool) -> None:
        replica, session = self._serving(slot), self._session(number)
        if replica is not None and session is not None:
            self._connect(replica, Reader(session, 0, deltas))

    def move(self, slot: int, number: int) -> None:
        """A reader goes on at another replica."""
        replica = self._serving(slot)
        if replica is not None and self.readers:
            _, reader = self.readers.pop(number % len(self.readers))
            self._connect(replica, reader)

    def interrupt(self, slot: int, number: int) -> None:
        self._ask(slot, number, "interrupt", lambda engine, session: engine.interrupt(session))

    def resume(self, slot: int, number: int) -> None:
        self._ask(slot, number, "resume", lambda engine, session: engine.resume(session))

    def wake(self, slot: int, number: int) -> None:
        self._ask(slot, number, "wake", lambda engine, session: engine.wake(session))

    def delete(self, slot: int, number: int) -> None:
        def deletion(engine: Engine, session: str) -> Coroutine[Any, Any, None]:
            self.doomed.add(session)
            return delete(engine, session, self.time.clock, self.record)

        self._ask(slot, number, "delete", deletion)

    # What happens to them.

    def kill(self, slot: int) -> None:
        if not (replica := self.at(slot)).over:
            self._end(replica)

    def pause(self, slot: int) -> None:
        self.at(slot).paused = True

    def go_on(self, slot: int) -> None:
        self.at(slot).paused = False

    def drain(self, slot: int, seconds: float) -> None:
        replica = self.at(slot)
        if replica.serves and not replica.drains:
            replica.drain(seconds)

    def start_again(self, slot: int) -> None:
        if self.at(slot).over:
            self.replicas[slot % len(self.replicas)] = self._start()

    def cut_off(self, slot: int) -> None:
        """It does not reach the database; see `watched.Line`."""
        self.at(slot).line.is_cut = True

    def stumble(self, slot: int, calls: int) -> None:
        """So many calls of its database fail."""
        self.at(slot).line.stumbles = calls

    def deafen(self, slot: int) -> None:
        """It hears nothing of the others."""
        self.at(slot).line.is_deaf = True

    def mend(self, slot: int) -> None:
        self.at(slot).line.is_cut = self.at(slot).line.is_deaf = False
        self.at(slot).line.stumbles = 0

    def drop_connections(self) -> None:
        self.place.drop_connections()

    def let_go(self, number: int) -> None:
        """One of the agents that wait."""
        if self._waits:
            self._waits.pop(number % len(self._waits)).set()

    def let_all_go(self) -> None:
        while self._waits:
            self.let_go(0)

    def run(self, slot: int, passes: int) -> None:
        """One replica goes on while the others stand still."""
        if (replica := self.at(slot)).runs:
            replica.loop.passes(passes)
        self._look()

    def wait(self, seconds: float) -> None:
        self.time.pass_by(seconds, self._loops, self._look)

    def wait_leases(self, times: float) -> None:
        """So many times as long as a lease holds."""
        self.wait(times * self.limits.lease_seconds)

    def until(self, condition: Callable[[], bool], seconds: float = 10.0) -> bool:
        """Whether it came true."""
        for _ in range(round(seconds / 0.05)):
            if condition():
                return True
            self.wait(0.05)
        return condition()

    # What there is.

    def at(self, slot: int) -> Replica:
        return self.replicas[slot % len(self.replicas)]

    def stored(self) -> list[Session]:
        return [session for session in map(self._stored, self.asked) if session is not None]

    def log(self, session_id: str) -> list[Event]:
        return self.place.ask(lambda store: store.events.read(session_id, limit=_PAGE))

    def history(self, *, is_settled: bool = False) -> History:
        facts = list(self.record)
        for replica in self.replicas:
            facts += replica.agents.living()
        for _, message in self.messages:
            facts += message.facts()
        facts += [reader.fact() for _, reader in self.readers]
        logs = {session.id: self.log(session.id) for session in self.stored()}
        return History(facts, logs, frozenset(self.doomed), is_settled, tuple(self.created))

    def _stored(self, session_id: str) -> Session | None:
        try:
            return self.place.ask(lambda store: store.sessions.get(session_id))
        except SessionNotFoundError:
            return None

    def _serving(self, slot: int) -> Replica | None:
        replica = self.at(slot)
        return replica if replica.serves else None

    def _session(self, number: int) -> str | None:
        return self.asked[number % len(self.asked)] if self.asked else None

    def _ask(self, slot: int, number: int, name: str, request: Request) -> None:
        replica, session = self._serving(slot), self._session(number)
        if replica is not None and session is not None:
            replica.ask(name, request(replica.engine, session))

    def _connect(self, replica: Replica, reader: Reader) -> None:
        reader.cut()
        self.readers.append((replica, reader))
        reader.task = replica.begin("follow", reader.follow(replica.engine))

    def _loops(self) -> list[Loop]:
        return [replica.loop for replica in self.replicas if replica.runs]

    def _look(self) -> None:
        """Launchers end agents, and drained processes themselves."""
        for replica in self.replicas:
            replica.agents.end_those_whose_time_is_over()
            if replica.is_at_its_end:
                self._end(replica)

    def _end(self, replica: Replica) -> None:
        """Its clients hear nothing more."""
        for place, message in self.messages:
            if place is replica:
                message.hang_up()
        for place, reader in self.readers:
            if place is replica:
                reader.cut()
        replica.kill()
        self.complaints += replica.complaints
        replica.complaints.clear()

    def _start(self) -> Replica:
        loop = self.time.loop()
        store, close = self.place.connect(loop)
        line = Line(self.time.clock, self.record, self.place.lag)
        agents = Agents(self.place.ids, line, self._play)
        watched = WatchedStore(store, line)
        parts = watched, agents, AnyWorkspace(), self.time.clock, self.place.ids, self.limits
        engine = Engine(*parts, lambda: 0)
        return Replica(self.time, loop, line, agents, engine, store.open, close)

    def _play(self, prompt: str) -> tuple[Step, ...]:
        play, text = prompt.split(maxsplit=1)[0], f"an answer to {prompt}"
        wait, again = waits = asyncio.Event(), asyncio.Event()
        self._waits += waits
        plays: dict[str, tuple[Step, ...]] = {
            "slow": (Say(text, thinking=True), Wait(wait), Say(text)),
            "tool": (UseTool(), Say(text)),
            "tools": (Say("first"), Wait(wait), UseTool(), Wait(again), UseTool(), Say(text)),
            "cut": (Cut(text, wait), Say(text)),
            "die": (Say("half"), Die(in_request=True)),
            "hang": (Say("well"), Hang()),
            "deaf": (Say("well"), Hang(deaf=True)),
        }
        return plays.get(play, (Say(text),))
