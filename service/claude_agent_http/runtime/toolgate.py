"""The hook that asks before a tool runs, and only after the tool's use was reported."""

import asyncio
from typing import Any

from claude_agent_http.ports import ToolGate

__all__ = ["OrderedGate"]

_REPORT_SECONDS = 1.0


class OrderedGate:
    """A hook can overtake the message that announces its tool: it waits, for a second at most, until the turn
    has handed that message on. Outside of a turn every tool is denied."""

    def __init__(self, gate: ToolGate) -> None:
        self._gate = gate
        self._open = False
        self._reported: dict[str, asyncio.Event] = {}

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
        """The SDK's PreToolUse callback; `{}` lets the CLI's own permissions decide."""
        use = tool_use_id or str(given.get("tool_use_id", ""))
        if self._open:
            await self._wait_for_report(use)
        if not self._open:
            return _denied("no turn is running")
        if await self._gate(use, str(given.get("tool_name", "")), dict(given.get("tool_input") or {})):
            return {}
        return _denied("this session may not run tools now")

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
