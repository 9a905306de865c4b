"""Which MCP servers a CLI has, as it says itself at the start of each turn. An agent without one works on."""

import structlog
from claude_agent_sdk import Message, SystemMessage

from claude_agent_http.domain.session import Session

__all__ = ["McpWatch"]

# "pending" is no fault yet: a slow server comes in time for a later turn, or is told as failed there.
_MISSING = frozenset({"failed", "needs-auth"})
_log = structlog.get_logger(__name__)


class McpWatch:
    """Tells the log of each server that is missing, once in the life of a CLI."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._told: set[str] = set()

    def hear(self, message: Message) -> None:
        if not isinstance(message, SystemMessage) or message.subtype != "init":
            return
        for server in message.data.get("mcp_servers") or ():
            name, status = str(server.get("name")), str(server.get("status"))
            if status in _MISSING and name not in self._told:
                self._told.add(name)
                _log.warning(
                    "an agent has no tools of an MCP server; `claude-agent-http doctor` says why",
                    mcp_server=name,
                    status=status,
                    session_id=self._session.id,
                    user_id=self._session.user_id,
                )
