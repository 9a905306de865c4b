"""Start, keep, stop and translate a CLI: the only home of the Agent SDK."""

from claude_agent_http.runtime.config import RuntimeConfig
from claude_agent_http.runtime.factory import CliRuntimeFactory

__all__ = ["CliRuntimeFactory", "RuntimeConfig"]
