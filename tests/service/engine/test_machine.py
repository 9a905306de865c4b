"""Random lives of an engine over fakes: whatever happens in whatever order, the log keeps its promises."""

import asyncio
import tempfile
from collections.abc import Coroutine
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule
from tests.service.engine.harness import FullDisk, OtherLog
from tests.waiting import until

from claude_agent_http.domain.errors import BusyError, StorageError
from claude_agent_http.domain.event import Event, EventType
from claude_agent_http.domain.session import SessionPhase, project
from claude_agent_http.engine import Engine, Limits, NewSession, Turn
from claude_agent_http.ports import Store
from claude_agent_http.runtime.fake import Die, FakeRuntimeFactory, Hang, Say, Step, UseTool
from claude_agent_http.runtime.workspaces import FolderWorkspaces
from claude_agent_http.store import memory_store
from claude_agent_http.system.clock import SystemClock
from claude_agent_http.system.ids import CountedIds

T = TypeVar("T")
LIMITS = Limits(
    max_live=3,
    max_live_per_user=2,
    max_turns_at_once=3,
    interrupt_grace_seconds=0.02,
    stop_seconds=0.05,
    session_ttl_seconds=0,
)


class EngineMachine(RuleBasedStateMachine):
    """Sessions of three users; turns that end well, die, hang or fill the disk; processes killed."""

    sessions = Bundle("sessions")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.store: Store = memory_store(SystemClock())
        self.ids = CountedIds()
        self.acknowledged: dict[str, list[str]] = {}
        self.seen: dict[str, list[Event]] = {}
        self.turns: dict[str, Turn] = {}
        self.run(self._start())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    async def _start(self) -> None:
        disk = FullDisk(self.store.events)
        self.disk, self.runtimes = disk, FakeRuntimeFactory(self.ids, self._play)
        workspaces = FolderWorkspaces(Path(self.folder.name))
        self.engine = Engine(
            OtherLog(self.store, disk), self.runtimes, workspaces, SystemClock(), self.ids, LIMITS, lambda: 0
        )
        await self.engine.start()

    def _play(self, prompt: str) -> tuple[Step, ...]:
        plays: dict[str, tuple[Step, ...]] = {
            "die": (Say("half"), Die()),
            "hang": (Say("wait"), Hang()),
            "deaf": (Hang(deaf=True),),
            "tool": (UseTool(), Say("done")),
            "fill": (UseTool(run=self._fill), Say("done")),
        }
        return plays.get(prompt, (Say("fine", thinking=True), Say("fine")))

    def _fill(self) -> str:
        self.disk.full = True
        return "ok"

    @rule(target=sessions, user=st.sampled_from(["a", "b", "c"]))
    def create(self, user: str) -> str:
        session = self.run(self.engine.create(NewSession(user)))
        self.acknowledged[session.id] = []
        return session.id

    @rule(session=sessions, prompt=st.sampled_from(["hi", "tool", "die", "hang", "deaf", "fill", "hi"]))
    def send(self, session: str, prompt: str) -> None:
        async def send() -> None:
            try:
                turn = await self.engine.send(session, prompt)
            except (BusyError, StorageError):
                return
            self.acknowledged[session].append(turn.id)
            self.turns[session] = turn
            if prompt not in ("hang", "deaf"):
                async with asyncio.timeout(5):
                    await turn.ended

        self.run(send())

    @rule(session=sessions)
    def interrupt(self, session: str) -> None:
        async def interrupt() -> None:
            if await self.engine.interrupt(session):
                async with asyncio.timeout(5):
                    await self.turns[session].ended

        self.run(interrupt())

    @precondition(lambda self: self.disk.full)
    @rule()
    def make_room(self) -> None:
        self.disk.full = False

    @rule(session=sessions)
    def follow(self, session: str) -> None:
        """A reader that goes on where it was sees what it has not seen, once."""

        async def follow() -> None:
            seen = self.seen.setdefault(session, [])
            after, last = len(seen), (await self.engine.get(session)).last_seq
            if after == last:
                return
            async for item in self.engine.follow(session, after=after, deltas=False):
                assert isinstance(item, Event)
                seen.append(item)
                if item.seq >= last:
                    break

        async def bounded() -> None:
            async with asyncio.timeout(5):
                await follow()

        self.run(bounded())

    @rule(session=consumes(sessions))
    def delete(self, session: str) -> None:
        self.run(self.engine.delete(session))
        del self.acknowledged[session]
        self.seen.pop(session, None)
        self.turns.pop(session, None)

    @rule()
    def kill_and_start_again(self) -> None:
        """A killed process writes nothing more; the next one finds the store as it was left."""

        async def kill() -> None:
            self.disk.full = True
            await self.engine.stop(0)
            await self._start()

        self.run(kill())

    @rule()
    def stop_and_start_again(self) -> None:
        async def stop() -> None:
            await self.engine.stop(0)
            await self._start()

        self.run(stop())

    @invariant()
    def the_log_keeps_its_promises(self) -> None:
        self.run(self._check())

    async def _check(self) -> None:
        for session_id, acknowledged in self.acknowledged.items():
            session = await self.store.sessions.get(session_id)
            log = await self.store.events.read(session_id, limit=10_000)
            assert [event.seq for event in log] == list(range(1, len(log) + 1))
            assert [event for event in log if event.id in set(acknowledged)] == [
                event for event in log if event.type is EventType.USER_MESSAGE
            ]
            assert len({event.id for event in log}) == len(log)
            assert self.seen.get(session_id, []) == log[: len(self.seen.get(session_id, []))]
            assert project(session, log).phase is session.phase
            _check_turns(log)

    def teardown(self) -> None:
        async def finish() -> None:
            self.disk.full = False
            await self.engine.stop(0)
            await self._start()
            for session_id in self.acknowledged:
                session = await self.store.sessions.get(session_id)
                assert session.phase is SessionPhase.IDLE
                turn = await self.engine.send(session_id, "still there?")
                async with asyncio.timeout(5):
                    assert (await turn.ended).error is None
            await self.engine.stop(0)
            await until(lambda: not self.runtimes.alive)

        try:
            self.run(finish())
        finally:
            self.runner.close()
            self.folder.cleanup()


def _check_turns(log: list[Event]) -> None:
    """Turns do not overlap, each starts with its message and ends idle, and no tool runs unannounced."""
    marks = [event for event in log if event.type in (EventType.STATUS_RUNNING, EventType.STATUS_IDLE)]
    for one, two in pairwise(marks):
        assert one.type is not two.type
        assert one.turn_id == two.turn_id or one.type is EventType.STATUS_IDLE
    started = {e.data["tool_use_id"] for e in log if e.type is EventType.AGENT_TOOL_STARTED}
    ran = {
        e.data["tool_use_id"] for e in log if e.type is EventType.AGENT_TOOL_RESULT and not e.data["is_error"]
    }
    assert ran <= started


EngineMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestEngineMachine = EngineMachine.TestCase
