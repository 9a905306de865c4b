"""Start, keep, stop and translate a CLI: the only home of the Agent SDK."""

from claude_agent_http.runtime.cli import CliRuntimeFactory
from claude_agent_http.runtime.config import RuntimeConfig

__all__ = ["CliRuntimeFactory", "RuntimeConfig"]
