"""Running one turn on a live runtime."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace

from claude_agent_http.domain import vocabulary
from claude_agent_http.domain.errors import ClaudeAgentError, RuntimeDiedError
from claude_agent_http.domain.event import Delta, NewEvent, Withdrawn
from claude_agent_http.domain.turn import ErrorKind, StopReason, TurnEnd
from claude_agent_http.engine.closing import not_stored
from claude_agent_http.engine.relay import Relay
from claude_agent_http.engine.turn import Turn
from claude_agent_http.engine.turn_writer import TurnWriter
from claude_agent_http.ports import AgentRuntime, Ids


class TurnRun:
    """One turn on one runtime. `run` never raises but on cancellation: every ending is a TurnEnd.

    `runtime_is_spent` afterwards: the runtime died, stands in the middle of a turn, or has used up its
    budget; it must be closed.
    `runtime_was_dead`: it had ended before the turn came, so another runtime may run the turn.
    """

    def __init__(
        self, turn: Turn, runtime: AgentRuntime, writer: TurnWriter, relay: Relay, ids: Ids, *, grace: float
    ) -> None:
        self._turn = turn
        self._runtime = runtime
        self._writer = writer
        self._relay = relay
        self._ids = ids
        self._grace = grace
        self._anything_happened = False
        self.runtime_is_spent = False

    async def run(self) -> TurnEnd:
        try:
            async with asyncio.timeout(None) as hard_limit, self._watch(hard_limit):
                end = await self._consume()
        except TimeoutError:
            self.runtime_is_spent = True
            end = TurnEnd.failed(
                ErrorKind.RUNTIME_UNRESPONSIVE, "the agent process ignored an interrupt; it was ended"
            )
        except RuntimeDiedError as error:
            self.runtime_is_spent = True
            end = TurnEnd.failed(ErrorKind.RUNTIME_DIED, str(error))
        except ClaudeAgentError as error:
            self.runtime_is_spent = True
            end = not_stored(error)
        # A process counts its cost over its life: one that has reached the budget answers nothing more.
        self.runtime_is_spent |= end.stop_reason is StopReason.BUDGET_REACHED
        return self._with_interrupt(end)

    @property
    def runtime_was_dead(self) -> bool:
        return self.runtime_is_spent and not self._anything_happened and self._turn.interrupt_reason is None

    async def _consume(self) -> TurnEnd:
        end: TurnEnd | None = None
        async with aclosing(self._runtime.turn(self._turn.prompt, self._turn.id)) as items:
            async for item in items:
                self._anything_happened = True
                self._turn.see(item)
                match item:
                    case Delta():
                        self._relay.delta(item)
                    case Withdrawn():
                        self._relay.withdraw(item)
                    case NewEvent():
                        await self._writer.put(item)
                        self._turn.requests.see(item)
                    case TurnEnd():
                        end = item
        if end is None:
            raise RuntimeDiedError("the agent process ended the turn without a result")
        return end

    @asynccontextmanager
    async def _watch(self, hard_limit: asyncio.Timeout) -> AsyncIterator[None]:
        """Interrupts the runtime when asked or when the turn's time is up, and gives it a last limit."""
        watching = self._interrupt_when_due(hard_limit)
        watcher = asyncio.create_task(watching, name=f"turn-watch {self._turn.id}")
        try:
            yield
        finally:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)

    async def _interrupt_when_due(self, hard_limit: asyncio.Timeout) -> None:
        reason = await self._turn.interrupt_due()
        hard_limit.reschedule(asyncio.get_running_loop().time() + self._grace)
        # Told first: a runtime that does not answer must not keep the interrupt out of the log.
        if not self._turn.interrupt_is_stored:
            with suppress(ClaudeAgentError):
                event_id = self._ids.event_id()
                await self._writer.put(vocabulary.user_interrupt(event_id, self._turn.id, reason))
        await self._runtime.interrupt()

    def _with_interrupt(self, end: TurnEnd) -> TurnEnd:
        if self._turn.interrupt_reason is None:
            return end
        if self._turn.failure is not None:
            return replace(end, stop_reason=StopReason.RETRIES_EXHAUSTED, error=self._turn.failure)
        return replace(end, interrupted=self._turn.interrupt_reason)
