"""A runtime without a process, played from steps: for tests of what stands above it, and for benches."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from claude_agent_http.domain import vocabulary
from claude_agent_http.domain.approval import AskedTool
from claude_agent_http.domain.disk import DiskUsage
from claude_agent_http.domain.errors import RuntimeDiedError, RuntimeStartError
from claude_agent_http.domain.event import Delta, EventType, Withdrawn
from claude_agent_http.domain.lease import Lease
from claude_agent_http.domain.session import Session
from claude_agent_http.domain.turn import StopReason, TurnEnd, TurnError, Usage
from claude_agent_http.ports import Ids, RuntimeItem, ToolAsk, ToolGate

__all__ = [
    "Cut",
    "Die",
    "Fail",
    "FakeRuntime",
    "FakeRuntimeFactory",
    "Hang",
    "KnownUsage",
    "Recall",
    "Say",
    "Step",
    "UseTool",
    "Wait",
]


@dataclass(frozen=True, slots=True)
class Say:
    """One message, in as many deltas as it has words, or in none when `whole`."""

    text: str
    thinking: bool = False
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Cut:
    """The beginning of a message whose request then fails: it is withdrawn, once `when` is set if given."""

    text: str
    when: asyncio.Event | None = None


@dataclass(frozen=True, slots=True)
class UseTool:
    """`run` is called when the tool may run, and gives its result. `asks`: only when the user allows it.
    `beside`: another tool of the same message, which runs at the same time."""

    name: str = "Bash"
    input: Mapping[str, Any] = field(default_factory=dict)
    run: Callable[[], str] = lambda: "ok"
    asks: bool = False
    beside: "UseTool | None" = None


@dataclass(frozen=True, slots=True)
class Recall:
    """Says every earlier prompt of the session, one a line."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Goes on when the event is set, or the turn is interrupted."""

    event: asyncio.Event


@dataclass(frozen=True, slots=True)
class Hang:
    """Until interrupted; `deaf` not even then."""

    deaf: bool = False


@dataclass(frozen=True, slots=True)
class Die:
    """`in_request`: while the model is being asked."""

    message: str = "the agent process ended in the middle of the turn (exit code 137)"
    in_request: bool = False


@dataclass(frozen=True, slots=True)
class Fail:
    """The turn ends with this error."""

    error: TurnError


_INPUT_TOKENS = 10
_PER_REQUEST = Usage(_INPUT_TOKENS, 1)
_Play = Say | Cut | UseTool | Recall | Wait | Hang | Die
Step = _Play | Fail


class KnownUsage:
    """A disk gauge that knows what it was told: `used_by["alice"]`."""

    def __init__(self) -> None:
        self.used_by: dict[str, DiskUsage] = {}

    async def used(self, user_id: str, *, anew: bool = False) -> DiskUsage | None:
        return self.used_by.get(user_id)


class FakeRuntimeFactory:
    """`play` gives the steps of a prompt's turn, by default it says the prompt back. `start_failures` are
    raised by the next starts, one each; a start waits for `before_start`, a stop for `before_close`.
    `forget_failure` is raised by `forget_user`.
    `opened`, `closed`, `forgotten`, `forgotten_users`, `undone`, `until` and `alive` say what happened."""

    def __init__(
        self, ids: Ids, play: Callable[[str], Sequence[Step]] = lambda prompt: (Say(f"You said: {prompt}"),)
    ) -> None:
        self.play = play
        self.start_failures: list[str] = []
        self.before_start: asyncio.Event | None = None
        self.before_close: asyncio.Event | None = None
        self.opened: list[str] = []
        self.closed: list[str] = []
        self.forgotten: list[str] = []
        self.forgotten_users: list[str] = []
        self.forget_failure: Exception | None = None
        self.undone: list[str] = []
        self.until: float | None = None
        self.alive: dict[str, FakeRuntime] = {}
        self._ids = ids
        self._said: dict[str, dict[str, str]] = defaultdict(dict)

    def hold(self, until: float | None) -> None:
        self.until = until

    @asynccontextmanager
    async def open(
        self,
        session: Session,
        gate: ToolGate,
        lease: Lease,
        *,
        ask: ToolAsk | None = None,
        undo: str | None = None,
    ) -> AsyncIterator["FakeRuntime"]:
        if self.before_start is not None:
            await self.before_start.wait()
        if self.start_failures:
            raise RuntimeStartError(self.start_failures.pop(0))
        self.opened.append(session.id)
        if undo is not None:
            self.undone.append(undo)
            self._undo(self._said[session.id], undo)
        runtime = FakeRuntime(self._ids, session.id, gate, ask, self.play, self._said[session.id])
        self.alive[session.id] = runtime
        try:
            yield runtime
        finally:
            try:
                if self.before_close is not None:
                    await self.before_close.wait()
            finally:
                self.alive.pop(session.id, None)
                self.closed.append(session.id)

    @staticmethod
    def _undo(said: dict[str, str], turn_id: str) -> None:
        """Forget the turn, and all behind it."""
        turns = list(said)
        for gone in turns[turns.index(turn_id) :] if turn_id in said else ():
            del said[gone]

    async def forget(self, session: Session) -> None:
        self.forgotten.append(session.id)
        self._said.pop(session.id, None)

    async def forget_user(self, user_id: str) -> None:
        if self.forget_failure is not None:
            raise self.forget_failure
        self.forgotten_users.append(user_id)


class FakeRuntime:
    def __init__(
        self,
        ids: Ids,
        session_id: str,
        gate: ToolGate,
        ask: ToolAsk | None,
        play: Callable[[str], Sequence[Step]],
        said: dict[str, str],
    ) -> None:
        self._ids = ids
        self._session_id = session_id
        self._gate = gate
        self._ask = ask
        self._play = play
        self._said = said
        self._interrupted = asyncio.Event()
        self._killed = asyncio.Event()
        self._dead = False
        self.interrupts = 0

    @property
    def pid(self) -> int | None:
        return None

    def kill(self) -> None:
        """As a process that ends by itself; the next step of a turn finds out."""
        self._dead = True
        self._killed.set()

    async def interrupt(self) -> None:
        self.interrupts += 1
        self._interrupted.set()

    async def turn(self, prompt: str, turn_id: str) -> AsyncGenerator[RuntimeItem]:
        self._interrupted.clear()
        steps = self._play(prompt)
        usage = Usage(_INPUT_TOKENS * len(steps), len(steps), cost_usd=0.001)
        try:
            for step in steps:
                if isinstance(step, Fail):
                    yield TurnEnd(StopReason.RETRIES_EXHAUSTED, usage, step.error)
                    return
                self._check_alive()
                async for item in self._step(step, turn_id):
                    yield item
                if self._interrupted.is_set():
                    # As the CLI does: the cost of an interrupted turn, and no tokens.
                    cost = Usage(cost_usd=usage.cost_usd)
                    yield TurnEnd(StopReason.END_TURN, cost, interrupted="interrupt")
                    return
        finally:
            self._said[turn_id] = prompt
        yield TurnEnd(StopReason.END_TURN, usage)

    def _check_alive(self) -> None:
        if self._dead:
            raise RuntimeDiedError("the agent process has ended")

    def _step(self, step: _Play, turn_id: str) -> AsyncIterator[RuntimeItem]:
        match step:
            case Say():
                return self._request(turn_id, self._message(step, turn_id))
            case Recall():
                return self._step(Say("\n".join(self._said.values())), turn_id)
            case Cut():
                return self._cut(step, turn_id)
            case UseTool():
                return self._use(step, turn_id)
            case Die():
                return self._die(step, turn_id)
            case Wait() | Hang():
                return self._pause(step)

    async def _pause(self, step: Wait | Hang) -> AsyncIterator[RuntimeItem]:
        if isinstance(step, Wait):
            await _first(step.event, self._interrupted, self._killed)
        else:
            await _first(self._killed, *(() if step.deaf else (self._interrupted,)))
        self._check_alive()
        for nothing in list[RuntimeItem]():
            yield nothing

    async def _die(self, die: Die, turn_id: str) -> AsyncIterator[RuntimeItem]:
        if die.in_request:
            yield vocabulary.model_request_start(self._ids.event_id(), turn_id, "fake")
        self._dead = True
        raise RuntimeDiedError(die.message)

    async def _request(self, turn_id: str, items: Sequence[RuntimeItem]) -> AsyncIterator[RuntimeItem]:
        start = vocabulary.model_request_start(self._ids.event_id(), turn_id, "fake")
        yield start
        for item in items:
            yield item
        yield vocabulary.model_request_end(
            self._ids.event_id(), turn_id, start.id, _PER_REQUEST, is_error=False
        )

    def _message(self, say: Say, turn_id: str) -> list[RuntimeItem]:
        kind = EventType.AGENT_THINKING if say.thinking else EventType.AGENT_MESSAGE
        build = vocabulary.agent_thinking if say.thinking else vocabulary.agent_message
        event_id = self._ids.event_id()
        deltas = [] if say.whole else self._deltas(event_id, kind, say.text)
        return [*deltas, build(event_id, turn_id, say.text)]

    async def _cut(self, cut: Cut, turn_id: str) -> AsyncIterator[RuntimeItem]:
        start = vocabulary.model_request_start(self._ids.event_id(), turn_id, "fake")
        yield start
        event_id = self._ids.event_id()
        for delta in self._deltas(event_id, EventType.AGENT_MESSAGE, cut.text):
            yield delta
        if cut.when is not None:
            await _first(cut.when, self._interrupted, self._killed)
            self._check_alive()
        yield vocabulary.model_request_end(
            self._ids.event_id(), turn_id, start.id, _PER_REQUEST, is_error=True
        )
        yield Withdrawn(self._session_id, event_id)

    def _deltas(self, event_id: str, kind: EventType, text: str) -> list[Delta]:
        offset, deltas = 0, list[Delta]()
        for place, word in enumerate(text.split(" ")):
            piece = f" {word}" if place else word
            if piece:
                deltas.append(Delta(self._session_id, event_id, kind, offset, piece))
            offset += len(piece)
        return deltas

    async def _use(self, step: UseTool, turn_id: str) -> AsyncIterator[RuntimeItem]:
        steps = [step] if step.beside is None else [step, step.beside]
        uses = {f"toolu_{self._ids.event_id()}": one for one in steps}
        calls = [
            vocabulary.agent_tool_use(self._ids.event_id(), turn_id, use, one.name, dict(one.input))
            for use, one in uses.items()
        ]
        async for item in self._request(turn_id, calls):
            yield item
        denials = await self._while_alive(self._denial(use, one) for use, one in uses.items())
        for (use, one), denial in zip(uses.items(), denials, strict=True):
            content = vocabulary.text_content(one.run() if denial is None else denial)
            yield vocabulary.agent_tool_result(
                self._ids.event_id(), turn_id, use, content, is_error=denial is not None
            )

    async def _while_alive(self, asked: Iterable[Coroutine[Any, Any, str | None]]) -> list[str | None]:
        """The answers; a process that ends waits for none."""
        answers = asyncio.gather(*asked)
        killed = asyncio.create_task(self._killed.wait())
        try:
            await asyncio.wait((answers, killed), return_when=asyncio.FIRST_COMPLETED)
            self._check_alive()
            return await answers
        finally:
            for waiting in (answers, killed):
                waiting.cancel()
            await asyncio.gather(answers, killed, return_exceptions=True)

    async def _denial(self, use: str, step: UseTool) -> str | None:
        """Why the tool may not run; None when it may. As the CLI does: the gate first, then the user."""
        if not await self._gate(use, step.name, dict(step.input)):
            return "this session may not run tools now"
        if not step.asks:
            return None
        if self._ask is None:
            return "nobody can be asked"
        verdict = await self._ask(AskedTool(use, step.name, dict(step.input)))
        return None if verdict.allowed else verdict.message


async def _first(*events: asyncio.Event) -> None:
    tasks = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
