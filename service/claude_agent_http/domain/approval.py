"""Approvals: tools that an agent may run only when the session's owner allows it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class Decision(StrEnum):
    """`result` of `user.tool_confirmation`, as the Managed Agents API has it."""

    ALLOW = "allow"
    DENY = "deny"


class DecidedBy(StrEnum):
    """Ours: who decided. After its time limit the service denies for the user."""

    USER = "user"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class AskedTool:
    """A tool use that the agent's process asks about, by the name that it knows the tool by; `reason` is why,
    in its words."""

    tool_use_id: str
    name: str
    input: dict[str, Any]
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the tool may run now. `message` is what the agent is told when it may not."""

    allowed: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class Approval:
    """One tool that was asked for; `id` is that of its event. At `expires_at` it is denied."""

    id: str
    turn_id: str | None
    tool: AskedTool
    requested_at: datetime
    expires_at: datetime
