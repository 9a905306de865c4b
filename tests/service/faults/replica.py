"""One replica: a process, as far as an event loop of its own can be one."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from tests.service.faults.times import Loop, Time
from tests.service.faults.watched import Agents, Line

from claude_agent_http.domain.errors import ClaudeAgentError
from claude_agent_http.engine import Engine


@dataclass(eq=False)
class Replica:
    """`loop` runs while it is neither `paused` nor `over`; `close` cuts its connections to the database."""

    time: Time
    loop: Loop
    line: Line
    agents: Agents
    engine: Engine
    open: Callable[[], Coroutine[Any, Any, None]]
    close: Callable[[], Coroutine[Any, Any, None]]
    paused: bool = False
    over: bool = False
    stopping: asyncio.Task | None = None
    complaints: list[str] = field(default_factory=list)
    _requests: list[asyncio.Task] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._starting = self.loop.create_task(self._start(), name="start")

    async def _start(self) -> None:
        await self.open()
        await self.engine.start()

    @property
    def runs(self) -> bool:
        return not (self.paused or self.over)

    @property
    def serves(self) -> bool:
        """Whether it takes connections, be it paused."""
        return not self.over and self._starting.done()

    @property
    def drains(self) -> bool:
        return self.stopping is not None and not self.over

    @property
    def is_at_its_end(self) -> bool:
        """Whether it ends by itself now: it could not start, or is drained. Raises what `stop` did."""
        if self.over:
            return False
        if self._starting.done() and isinstance(self._starting.exception(), ClaudeAgentError):
            return True
        if self.stopping is None or not self.stopping.done():
            return False
        self.stopping.result()
        if self.agents.alive:
            self.complaints.append(f"drained, and agents live: {self.agents.alive}")
        return True

    @property
    def unanswered(self) -> list[str]:
        """The requests that it was asked and has not answered."""
        return [request.get_name() for request in self._requests if not request.done()]

    def ask(self, name: str, work: Coroutine[Any, Any, Any]) -> None:
        """Begin a client's request. It may be refused, but not fail in a way that nobody thought of."""
        self._requests.append(self.begin(name, work))

    def begin(self, name: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task:
        """The same, of a request that need not come to an end by itself."""
        request = self.loop.create_task(self._answer(name, work), name=name)
        request.add_done_callback(lambda _: work.close())  # it may have been cancelled before it began
        return request

    async def _answer(self, name: str, work: Coroutine[Any, Any, Any]) -> None:
        try:
            await work
        except ClaudeAgentError:
            return
        except Exception as error:
            if not self.line.is_dead:
                self.complaints.append(f"{name}: {error!r}")

    def drain(self, seconds: float) -> None:
        """As SIGTERM does."""
        self.stopping = self.loop.create_task(self.engine.stop(seconds), name="drain")

    def kill(self) -> None:
        """Nothing of it runs on. Its tasks are ended where nobody notices."""
        self.line.is_dead = self.over = True
        self.agents.end_all()
        closing = self.loop.create_task(self.close(), name="closing")
        self.time.run_out(self.loop, closing)
        closing.result()
        self.loop.close()
