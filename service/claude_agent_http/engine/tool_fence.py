"""What stands before every tool of a session's turn: the log, and the user where the agent has to ask."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from claude_agent_http.domain import vocabulary
from claude_agent_http.domain.approval import AskedTool, DecidedBy, Decision, Verdict
from claude_agent_http.domain.errors import ClaudeAgentError
from claude_agent_http.domain.event import Event, NewEvent
from claude_agent_http.engine.approvals import Answer
from claude_agent_http.engine.journal import SessionJournal
from claude_agent_http.engine.turn import Turn
from claude_agent_http.engine.turn_writer import TurnWriter
from claude_agent_http.ports import Clock, Ids

__all__ = ["Running", "ToolFence"]

Running = tuple[Turn, TurnWriter]
_NOT_NOW = Verdict(allowed=False, message="this session may not run tools now")
_INTERRUPTED = Verdict(
    allowed=False, message="the turn was interrupted before the user decided about this tool"
)


class ToolFence:
    """`running` is the turn that runs, with its writer, if any."""

    def __init__(
        self,
        journal: SessionJournal,
        clock: Clock,
        ids: Ids,
        running: Callable[[], Running | None],
        *,
        approval_seconds: float,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._ids = ids
        self._running = running
        self._approval_seconds = approval_seconds

    async def gate(self, tool_use_id: str, name: str, _input: dict[str, Any]) -> bool:
        """A tool may run when its `agent.tool_started` is stored, and only within a turn.

        Whether the agent's process will ask about it nobody knows yet: then the approval that is requested
        says that it has not started after all.
        """
        running = self._running()
        if running is None:
            return False
        try:
            return await self._start(*running, tool_use_id, name)
        except ClaudeAgentError:
            return False

    async def ask(self, asked: AskedTool) -> Verdict:
        """Let the user decide, for so long as there is time; what is not allowed by then is denied."""
        running = self._running()
        if running is None:
            return _NOT_NOW
        turn, writer = running
        approval_id = self._ids.event_id()
        answer = turn.approvals.expect(approval_id)
        try:
            expires_at = self._clock.now() + timedelta(seconds=self._approval_seconds)
            requested = vocabulary.tool_approval_requested(approval_id, turn.id, asked, expires_at)
            await writer.commit(requested)
            return await self._verdict(turn, writer, requested, asked, answer)
        except ClaudeAgentError:
            return _NOT_NOW
        finally:
            turn.approvals.forget(approval_id)

    async def _verdict(
        self,
        turn: Turn,
        writer: TurnWriter,
        requested: NewEvent,
        asked: AskedTool,
        answer: Answer,
    ) -> Verdict:
        confirmation = await self._confirmation(turn, requested, asked, answer)
        if confirmation is None:
            return _INTERRUPTED
        if confirmation.data["result"] != Decision.ALLOW:
            return Verdict(allowed=False, message=_denial(confirmation))
        started = await self._start(turn, writer, asked.tool_use_id, asked.name)
        return Verdict(allowed=True) if started else _INTERRUPTED

    async def _confirmation(
        self, turn: Turn, requested: NewEvent, asked: AskedTool, answer: Answer
    ) -> Event | None:
        """None when the turn is interrupted, its time is up, or it has ended."""
        interrupt = asyncio.create_task(turn.interrupt_due(), name=f"approval {requested.id}")
        try:
            await asyncio.wait(
                (answer, interrupt), timeout=self._approval_seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            interrupt.cancel()
            await asyncio.gather(interrupt, return_exceptions=True)
        if answer.done():
            return answer.result()
        if turn.interrupt_reason is not None:
            return None
        return await self._expire(turn, requested, asked)

    async def _expire(self, turn: Turn, requested: NewEvent, asked: AskedTool) -> Event:
        """The denial, or what the user has decided at the last moment."""
        reason = f"nobody decided within {self._approval_seconds:g} s"
        denial = vocabulary.tool_confirmation(
            requested.id, turn.id, asked.tool_use_id, Decision.DENY, reason, DecidedBy.TIMEOUT
        )
        return (await self._journal.append([denial]))[0]

    async def _start(self, turn: Turn, writer: TurnWriter, tool_use_id: str, name: str) -> bool:
        if turn.interrupt_reason is not None:
            return False
        await writer.commit(vocabulary.agent_tool_started(self._ids.event_id(), turn.id, tool_use_id, name))
        return True


def _denial(confirmation: Event) -> str:
    reason = confirmation.data.get("deny_message")
    if confirmation.data["decided_by"] == DecidedBy.TIMEOUT:
        return f"The user did not allow this tool: {reason}."
    return "The user denied this tool." if reason is None else f"The user denied this tool: {reason}"
