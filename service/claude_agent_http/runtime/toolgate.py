"""What the CLI asks before a tool runs: a hook for each, once the tool's use was reported, and then, where
its own rules do not decide, whether the user allows it."""

import asyncio
from typing import Any

from claude_agent_sdk import (
    PermissionResult,
    PermissionResultAllow,
    PermissionResultDeny,
    ToolPermissionContext,
)

from claude_agent_http.domain.approval import AskedTool
from claude_agent_http.ports import ToolAsk, ToolGate

__all__ = ["OrderedGate"]

_REPORT_SECONDS = 1.0
# An agent can write to its CLI's output, and so ask without end: far more than a turn of a model's uses.
_MOST_USES = 10_000
_MOST_QUESTIONS = 64


class OrderedGate:
    """A hook can overtake the message that announces its tool: it waits, for a second at most, until the turn
    has handed that message on. Outside of a turn every tool is denied."""

    def __init__(self, gate: ToolGate, ask: ToolAsk | None = None) -> None:
        self._gate = gate
        self._ask = ask
        self._open = False
        self._reported: dict[str, asyncio.Event] = {}
        self._questions = 0

    def begin(self) -> None:
        self._open, self._reported = True, {}

    def end(self) -> None:
        self._open = False
        for event in self._reported.values():
            event.set()

    def report(self, tool_use_id: str) -> None:
        """The tool's use has been handed on."""
        self._event(tool_use_id).set()

    async def hook(self, given: dict[str, Any], tool_use_id: str | None, _context: Any) -> dict[str, Any]:
        """The SDK's PreToolUse callback; `{}` lets the CLI's own permissions decide: an "allow" would be the
        last word, and nobody would be asked."""
        use = tool_use_id or str(given.get("tool_use_id", ""))
        if use not in self._reported and len(self._reported) >= _MOST_USES:
            return _denied(f"more than {_MOST_USES} tools were asked for in this turn")
        if self._open:
            await self._wait_for_report(use)
        if not self._open:
            return _denied("no turn is running")
        if await self._gate(use, str(given.get("tool_name", "")), dict(given.get("tool_input") or {})):
            return {}
        return _denied("this session may not run tools now")

    async def permit(
        self, name: str, given: dict[str, Any], context: ToolPermissionContext
    ) -> PermissionResult:
        """The SDK's `can_use_tool` callback, behind the hook, for what the CLI's own rules leave open."""
        if self._ask is None or not self._open:
            return PermissionResultDeny(message="no turn is running")
        if self._questions >= _MOST_QUESTIONS:
            return PermissionResultDeny(message=f"more than {_MOST_QUESTIONS} tools wait to be allowed")
        asked = AskedTool(context.tool_use_id or "", name, dict(given), context.decision_reason)
        self._questions += 1
        try:
            verdict = await self._ask(asked)
        finally:
            self._questions -= 1
        return PermissionResultAllow() if verdict.allowed else PermissionResultDeny(message=verdict.message)

    async def _wait_for_report(self, tool_use_id: str) -> None:
        try:
            async with asyncio.timeout(_REPORT_SECONDS):
                await self._event(tool_use_id).wait()
        except TimeoutError:
            return

    def _event(self, tool_use_id: str) -> asyncio.Event:
        return self._reported.setdefault(tool_use_id, asyncio.Event())


def _denied(reason: str) -> dict[str, Any]:
    return {
        "hookSpecificOutput": {
            "hookEventName": "PreToolUse",
            "permissionDecision": "deny",
            "permissionDecisionReason": reason,
        }
    }
