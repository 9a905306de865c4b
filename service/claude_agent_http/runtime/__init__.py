"""Start, keep, stop and translate a CLI: the only home of the Agent SDK."""

from claude_agent_http.runtime.cli import CliRuntimeFactory
from claude_agent_http.runtime.config import RuntimeConfig
from claude_agent_http.runtime.workspaces import FolderWorkspaces

__all__ = ["CliRuntimeFactory", "FolderWorkspaces", "RuntimeConfig"]
