"""One service process of the machine: an engine, and the operations that its clients have under way."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from tests.service.engine.machine_loop import StillLoop
from tests.service.engine.machine_world import AnyWorkspace, Disk, Gates, Runtimes, UnsureStore

from claude_agent_http.domain.errors import ClaudeAgentError
from claude_agent_http.engine import Engine, Limits
from claude_agent_http.metrics.recorded import RecordedTelemetry
from claude_agent_http.ports import Ids, Store

_LONGEST_END = 60.0


@dataclass(eq=False)
class Operation:
    """`lasting` ones wait for something that need not come: only the end of the process ends them."""

    name: str
    task: asyncio.Task[Any]
    lasting: bool


class Process:
    def __init__(
        self, loop: StillLoop, store: Store, runtimes: Runtimes, gates: Gates, ids: Ids, limits: Limits
    ) -> None:
        self.disk = Disk()
        self.gates = gates
        self.loop = loop
        self.memory_mb = 0
        self.stopping: Operation | None = None
        self._operations: list[Operation] = []
        self.telemetry = RecordedTelemetry()
        self.store = UnsureStore(store, gates, self.disk)
        self.engine = Engine(
            self.store,
            runtimes,
            AnyWorkspace(),
            loop.clock,
            ids,
            limits,
            lambda: self.memory_mb,
            self.telemetry,
        )
        started = loop.create_task(self.engine.start())
        loop.until_idle()
        started.result()

    @property
    def unfinished(self) -> list[str]:
        """The operations that should have ended by now, if they are to end by themselves."""
        return [each.name for each in self._operations if not each.task.done() and not each.lasting]

    @property
    def stopped(self) -> bool:
        return self.stopping is not None and self.stopping.task.done()

    def begin(self, name: str, work: Coroutine[Any, Any, Any], *, lasting: bool = False) -> Operation:
        operation = Operation(name, self.loop.create_task(work, name=f"operation {name}"), lasting)
        self._operations.append(operation)
        return operation

    def stop(self, seconds: float) -> None:
        self.stopping = self.begin(f"stop({seconds})", self.engine.stop(seconds))

    def give_up(self, number: int) -> None:
        """A client goes away in the middle of its request."""
        unfinished = [each for each in self._operations if not each.task.done()]
        if leaving := [each for each in unfinished if each is not self.stopping]:
            leaving[number % len(leaving)].task.cancel()

    def check_answers(self) -> None:
        """Whatever happens, a client gets a result or an error of ours."""
        for done in [each for each in self._operations if each.task.done()]:
            self._operations.remove(done)
            error = None if done.task.cancelled() else done.task.exception()
            if error is not None and not isinstance(error, ClaudeAgentError):
                raise error

    def tasks(self, *names: str) -> list[str]:
        """The unfinished tasks of which the name begins so."""
        every = [task.get_name() for task in asyncio.all_tasks(self.loop)]
        return sorted(name for name in every if name.startswith(names))

    def kill(self) -> None:
        """Its clients hear no more, and it stores nothing more; that its tasks end is to be seen too."""
        self.disk.gone = True
        self.gates.open_all()
        for operation in self._operations:
            if operation is not self.stopping:
                operation.task.cancel()
        if self.stopping is None:
            self.stop(0)
        self.loop.glide(_LONGEST_END)
        assert not asyncio.all_tasks(self.loop), self.tasks("")
        assert len(self.telemetry.turns) == self.telemetry.turns_begun
