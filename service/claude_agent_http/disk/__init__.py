"""What users and their agents have on the data volume. Long work runs in threads; no link is followed."""

from claude_agent_http.disk.usage import FolderUsage
from claude_agent_http.disk.workspace_files import FolderFiles
from claude_agent_http.disk.workspaces import FolderWorkspaces

__all__ = ["FolderFiles", "FolderUsage", "FolderWorkspaces"]
