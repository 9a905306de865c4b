"""The life of an engine over several processes on one store: what was done, and what must hold of it."""

import uuid
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from tests.service.engine.machine_checks import check_end
from tests.service.engine.machine_clients import Reader, Sending
from tests.service.engine.machine_loop import StillLoop
from tests.service.engine.machine_process import Process
from tests.service.engine.machine_world import CALLS, Gate, Gates, Runtimes

from claude_agent_http.domain.errors import SessionNotFoundError
from claude_agent_http.domain.event import Event, EventType
from claude_agent_http.domain.session import Session, SessionPhase, SessionStatus
from claude_agent_http.domain.turn import ErrorKind, TurnError
from claude_agent_http.domain.vocabulary import text_of
from claude_agent_http.engine import Limits, NewSession
from claude_agent_http.runtime.fake import Cut, Die, Fail, Hang, Say, Step, UseTool, Wait
from claude_agent_http.store import memory_store
from claude_agent_http.system.clock import ManualClock
from claude_agent_http.system.ids import CountedIds

T = TypeVar("T")
EVERY_TIMER = 20.0
"""Seconds: longer than any interrupt, stop, or retry of a debt takes."""
TAKEOVER = 31.0
"""Seconds: longer than a turn waits to be taken over when there is a place for it."""
_MARKS = (
    *(EventType.USER_MESSAGE, EventType.STATUS_RUNNING),
    *(EventType.STATUS_RESCHEDULED, EventType.STATUS_IDLE),
)
PLAYS = ("say", "say", "slow", "tool", "cut", "die", "hang", "deaf", "fail", "broken", "fill")
FAULTS = ("disk full", "no start", "dead", "append", *CALLS)
"""The last are calls of the store: each fails once."""


class Life:
    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.clock = ManualClock()
        self.loop = StillLoop(self.clock)
        self.store = memory_store(self.clock)
        self.ids = CountedIds()
        self.gates = Gates()
        self.runtimes = Runtimes(self.ids, self.gates, limits, self.clock, self._play)
        self.sendings: list[Sending] = []
        self.readers: list[Reader] = []
        self.created: list[str] = []
        self.deleted: set[str] = set()
        self._filled: set[str] = set()
        self.begun = 0
        self._at_rest = True
        self.process = self._process()

    def kill_and_start_again(self) -> None:
        self.process.kill()
        self.process.check_answers()
        assert self.runtimes.held == []
        self.runtimes.fake.start_failures.clear()
        for sending in self.sendings:
            sending.cut = True
        for reader in self.readers:
            reader.cut = True
        self.begun = 0
        self.process = self._process()

    def go(self, pace: int | None) -> None:
        """So many passes of the loop; None: until nothing more can happen at this moment."""
        if pace is None:
            self.loop.until_idle()
        else:
            self.loop.passes(pace)
        self._at_rest = pace is None

    def begin(self, name: str, work: Coroutine[Any, Any, Any]) -> None:
        self.process.begin(name, work)
        self.begun, self._at_rest = self.begun + 1, False

    def session(self, number: int) -> str:
        return self.created[number % len(self.created)]

    def create(self, user: str) -> None:
        """The id is the client's choice, so that others can know it before it is created."""
        session_id = str(uuid.UUID(int=len(self.created) + 1, version=4))
        self.created.append(session_id)
        self.begin("create", self.process.engine.create(NewSession(user, session_id=session_id)))

    def send(self, session: str, play: str, seconds: float | None = None, *, wait: bool = False) -> Sending:
        sending = Sending(session, f"{play} {len(self.sendings)}", seconds)
        self.sendings.append(sending)
        self.process.begin("send", self._send(sending, wait), lasting=wait)
        self.begun, self._at_rest = self.begun + 1, False
        return sending

    def follow(self, session: str, back: int, *, deltas: bool) -> None:
        log = self.log(session)
        reader = Reader(session, max(0, len(log) - back), deltas, existed=self.stored(session) is not None)
        following = reader.follow(self.process.engine, self.gates)
        reader.task = self.process.begin("follow", following, lasting=True).task
        self.readers.append(reader)
        self.begun, self._at_rest = self.begun + 1, False

    async def interrupt(self, session: str) -> None:
        if await self.process.engine.interrupt(session):
            for sending in self.sendings:
                if sending.session == session and sending.runs:
                    sending.must_end_by = self.loop.time() + EVERY_TIMER / 2

    async def delete(self, session: str) -> None:
        await self.process.engine.delete(session)
        self.deleted.add(session)
        self.runtimes.gone(session)

    def break_something(self, fault: str, session: str) -> None:
        match fault:
            case "disk full":
                self.process.disk.full = True
            case "no start":
                self.runtimes.fake.start_failures.append("no such program")
            case "dead":  # which the next turn finds out
                if runtime := self.runtimes.fake.alive.get(session):
                    runtime.kill()
            case call:
                self.process.disk.failing[call] += 1

    def calm_down(self) -> None:
        """Nothing is in the way any more: soon all that was begun is done, and everything is stored."""
        self.gates.open_all()
        self.runtimes.fake.start_failures.clear()
        for _ in range(len(self.sendings) + 1):  # each may fill the disk once more
            self.process.disk.heal()
            self.glide(EVERY_TIMER)
            if self.process.disk.sound:
                break
        self.begun = 0
        self.check_calm()

    def stop(self) -> None:
        """With nothing in the way a drain leaves no task, runtime or reader, and readers have seen it all."""
        following = [reader for reader in self.readers if reader.follows]
        if self.process.stopping is None:
            self.process.stop(0)
            self.glide(EVERY_TIMER)
        self.process.check_answers()
        assert self.runtimes.held == []
        assert self.process.tasks("") == []
        for reader in following:
            assert reader.position == len(self.log(reader.session))

    def glide(self, seconds: float) -> None:
        self.loop.glide(seconds)
        self._at_rest = True

    @property
    def eventful(self) -> bool:
        """Whether enough was begun since it was last calm for an end to be of interest."""
        return self.begun >= 5

    @property
    def calm(self) -> bool:
        """Whether nothing is under way but turns and those who wait for them."""
        stats = self.process.engine.stats()
        return (
            self._at_rest
            and self.gates.all_open
            and self.process.disk.sound
            and not self.runtimes.fake.start_failures
            and not self.process.unfinished
            and self.process.stopping is None
            and stats.live == stats.runtimes == len(self.runtimes.fake.alive)
            and stats.turns == self.turns
        )

    @property
    def turns(self) -> int:
        return sum(sending.runs for sending in self.sendings) + len(self.run_again)

    @property
    def run_again(self) -> set[str]:
        """The sessions whose turn an earlier process began and this one runs."""
        return {
            session_id
            for session_id in self.created
            if self.left_behind(session_id) is EventType.STATUS_RUNNING
        }

    def left_behind(self, session_id: str) -> EventType | None:
        """Of a turn that was cut by the end of its process and has not ended: how far its takeover is, which
        says so in the log; None when there is no such turn."""
        marks = [event for event in self.log(session_id) if event.type in _MARKS]
        if not marks or marks[-1].type is EventType.STATUS_IDLE:
            return None
        turn = marks[-1].turn_id
        cut = {sending.text for sending in self.sendings if sending.cut}
        message = next(event for event in marks if event.id == turn)
        if text_of(message.data) not in cut:
            return None
        rescheduled = any(
            event.type is EventType.STATUS_RESCHEDULED for event in marks if event.turn_id == turn
        )
        return EventType.STATUS_RUNNING if rescheduled else EventType.USER_MESSAGE

    def must_refuse(self, session: Session) -> bool:
        """What the limits say of one more message while everything is calm."""
        limits, busy = self.limits, {sending.session for sending in self.sendings if sending.runs}
        busy |= self.run_again
        if session.id in busy or len(busy) >= limits.max_turns_at_once:
            return True
        if session.id in self.runtimes.fake.alive:
            return False
        mine = [one for one in map(self.stored, busy) if one is not None and one.user_id == session.user_id]
        if len(mine) >= limits.max_live_per_user or len(busy) >= limits.max_live:
            return True
        need = (self.runtimes.started_within(5.0) + 1) * limits.memory_mb_per_start
        lacks_memory = self.process.memory_mb + need > limits.memory_mb
        return lacks_memory and busy >= set(self.runtimes.fake.alive)

    def check_messages(self, session_id: str, log: list[Event]) -> None:
        """What was acknowledged is there; what was refused is not."""
        texts = {text_of(event.data) for event in log if event.type is EventType.USER_MESSAGE}
        mine = [sending for sending in self.sendings if sending.session == session_id]
        assert {sending.text for sending in mine if sending.turn is not None} <= texts
        assert not {sending.text for sending in mine if sending.refused is not None} & texts

    def check_time_to_live(self) -> None:
        """Only what nobody used for its time is closed, as far as the store knew when it was asked."""
        ttl = timedelta(seconds=self.limits.session_ttl_seconds)
        closed_before = self.process.store.sessions.closed_before
        assert ttl or not closed_before
        assert all(before <= self.clock.now() - ttl for before in closed_before)

    def check_calm(self) -> None:
        self.process.check_answers()
        assert self.process.unfinished == []
        for session in filter(None, map(self.stored, self.created)):
            self._check_session(session)
        for reader in self.readers:
            self._check_reader(reader)
        self._check_live()

    def _check_session(self, session: Session) -> None:
        mine = [sending for sending in self.sendings if sending.session == session.id]
        may_owe = self.process.stopping is not None  # what the disk did not take in time, the next start ends
        if any(sending.runs for sending in mine):
            assert (session.phase, session.status) == (SessionPhase.RUNNING, SessionStatus.ACTIVE)
        elif (
            not may_owe
            and not any(sending.is_unknown for sending in mine)
            and not self.left_behind(session.id)
        ):
            assert session.phase is SessionPhase.IDLE
        for sending in mine:
            if sending.end is not None and not sending.cut and not may_owe:
                check_end(self.log(session.id), sending.turn.id, sending.end)
                self._check_tool(sending, sending.turn.id)
            assert not sending.runs or sending.must_end_by is None or self.loop.time() < sending.must_end_by

    def _check_tool(self, sending: Sending, turn_id: str) -> None:
        """What the disk had no room for was owed, and is stored."""
        results = [event for event in self.log(sending.session) if event.type is EventType.AGENT_TOOL_RESULT]
        if sending.text in self._filled and sending.end.interrupted is None:
            assert turn_id in {event.turn_id for event in results}, "the result of a tool is lost"

    def _check_reader(self, reader: Reader) -> None:
        """Who still follows has seen all there is; nobody follows what is not there, or is sent away."""
        session = self.stored(reader.session)
        if reader.follows:
            assert session is not None, "a reader waits for a deleted session"
            assert reader.position == session.last_seq
            assert session.phase is SessionPhase.RUNNING or not reader.texts
        elif reader.ended and reader.existed and self.process.stopping is None and not reader.cut:
            assert session is None

    def _check_live(self) -> None:
        stats, alive = self.process.engine.stats(), self.runtimes.fake.alive
        assert stats.runtimes == len(alive)
        assert stats.turns >= self.turns
        assert sorted(self.runtimes.held) == sorted(alive)
        full = len(alive) == self.limits.max_live
        assert full or stats.live == len(alive), "a session waits for a place though there is one"
        sessions = [session for session in map(self.stored, alive) if session is not None]
        assert len(sessions) == len(alive), "a deleted session is live"
        for user in ("a", "b"):
            mine = sum(session.user_id == user for session in sessions)
            assert mine <= self.limits.max_live_per_user

    def log(self, session_id: str) -> list[Event]:
        return _at_once(self.store.events.read(session_id, limit=100_000))

    def stored(self, session_id: str) -> Session | None:
        try:
            return _at_once(self.store.sessions.get(session_id))
        except SessionNotFoundError:
            return None

    def open_again(self, session_id: str) -> None:
        _at_once(self.store.sessions.set_status(session_id, SessionStatus.ACTIVE, self.clock.now()))

    def _process(self) -> Process:
        return Process(self.loop, self.store, self.runtimes, self.gates, self.ids, self.limits)

    async def _send(self, sending: Sending, wait: bool) -> None:
        engine = self.process.engine
        await sending.send(engine)
        if sending.turn is not None and sending.seconds is not None:
            sending.must_end_by = self.loop.time() + sending.seconds + EVERY_TIMER / 2
        if sending.turn is not None and wait:
            assert await engine.wait(sending.turn, 1.0) == sending.end

    def _play(self, prompt: str) -> tuple[Step, ...]:
        play, text = prompt.split(maxsplit=1)[0], f"an answer to {prompt}"
        plays: dict[str, tuple[Step, ...]] = {
            "slow": (Say(text, thinking=True), Wait(Gate(self.gates, "step")), Say(text)),
            "tool": (UseTool(), Say(text)),
            "cut": (Cut(text, Gate(self.gates, "step")), Say(text)),
            "die": (Say("half"), Die(in_request=True)),
            "hang": (Say("wait"), Hang()),
            "deaf": (Say("wait"), Hang(deaf=True)),
            "fail": (Fail(TurnError(ErrorKind.MAX_TURNS, "too many")),),
            "fill": (UseTool(run=lambda: self._fill(prompt)), Say(text)),
        }
        if play == "broken":
            raise ZeroDivisionError("what nobody thought of")
        return plays.get(play, (Say(text),))

    def _fill(self, prompt: str) -> str:
        self._filled.add(prompt)
        self.process.disk.full = True
        return "ok"


def _at_once(call: Coroutine[Any, Any, T]) -> T:
    """The memory store's methods wait for nothing, so they need no loop."""
    try:
        call.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("the memory store waited")
