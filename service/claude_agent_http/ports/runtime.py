"""An agent's process, and how it reaches its model."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from claude_agent_http.domain.approval import AskedTool, Verdict
from claude_agent_http.domain.event import Delta, NewEvent, Withdrawn
from claude_agent_http.domain.lease import Lease
from claude_agent_http.domain.session import Session
from claude_agent_http.domain.turn import TurnEnd, TurnError

__all__ = [
    "AgentRuntime",
    "ModelAccess",
    "ModelGrant",
    "RuntimeFactory",
    "RuntimeItem",
    "ToolAsk",
    "ToolGate",
]


RuntimeItem = NewEvent | Delta | Withdrawn | TurnEnd
ToolGate = Callable[[str, str, dict[str, Any]], Awaitable[bool]]
"""(tool_use_id, tool name, input) -> may the tool run; returns after `agent.tool_started` is stored."""
ToolAsk = Callable[[AskedTool], Awaitable[Verdict]]
"""What the agent's process asks about a tool that the gate let pass, before it runs; waits for the answer."""


class AgentRuntime(Protocol):
    """A live agent process of one session, ready for a prompt. Opened, read and closed by one task."""

    def turn(self, prompt: str, turn_id: str) -> AsyncGenerator[RuntimeItem]:
        """Run one turn: events and deltas as they come, then exactly one TurnEnd, and nothing after it.
        Behind it, nothing that is given to the store is stored ahead of the turn's transcript.
        What was begun in deltas comes whole under its id, or is Withdrawn before its text is said anew.

        Raises RuntimeDiedError when the process ends or its output makes no sense; the runtime is then dead.
        """
        ...

    async def interrupt(self) -> None:
        """Ask the current turn to end soon; it still yields its TurnEnd. From any task; never raises."""
        ...

    def kill(self) -> None:
        """End the process and all that it started, at once; a turn under way raises RuntimeDiedError."""
        ...

    @property
    def pid(self) -> int | None: ...


class ModelGrant(Protocol):
    """How one start of an agent reaches its model."""

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables by which the CLI is told. What is secret in them is worth nothing once it ended."""
        ...

    def take_refusal(self) -> TurnError | None:
        """Why the last request was refused on the way to the model, if it was; told once."""
        ...


class ModelAccess(Protocol):
    def grant(self, session: Session) -> AbstractAsyncContextManager[ModelGrant]:
        """For one start of the session's agent, from before it starts until its processes are gone."""
        ...


class RuntimeFactory(Protocol):
    def open(
        self,
        session: Session,
        gate: ToolGate,
        lease: Lease,
        *,
        ask: ToolAsk | None = None,
        undo: str | None = None,
    ) -> AbstractAsyncContextManager[AgentRuntime]:
        """Start the session's process (resuming its conversation when one is stored) and stop it, with
        every process it started, at exit. `undo` is the id of a turn that will be run again: what the
        conversation holds of it, and all behind it, is dropped before. Without `ask`, a tool that the process
        would ask about is denied.

        Entering raises RuntimeStartError, LeaseLostError.
        """
        ...

    def hold(self, until: float | None) -> None:
        """Let every process live until then, in the clock's monotonic seconds, unless told again; None for
        good. What is not told in time ends by itself, even while the service is paused."""
        ...

    async def forget(self, session: Session) -> None:
        """Remove what the runtimes of a deleted session left on disk outside its workspace. Never raises."""
        ...

    async def forget_user(self, user_id: str) -> None:
        """Remove what is left of all sessions that this user ever had, where `forget` did not come to it or
        could not do it. None of them may be live.

        Raises InvalidInputError; WorkspaceError when something stays.
        """
        ...
