"""What holds agents to what is theirs."""

import os
import shutil
from collections.abc import Iterator

from claude_agent_http.commands.doctor.finding import Finding, fail, ok, warn
from claude_agent_http.domain.errors import IsolationError
from claude_agent_http.isolation import configured_isolation, readable_paths
from claude_agent_http.runtime.isolation import Kernel, is_readable, kernel
from claude_agent_http.settings import Loaded, StdioServer

__all__ = ["check_isolation"]


def check_isolation(loaded: Loaded, known: Kernel | None = None) -> Iterator[Finding]:
    """`known` stands in for this machine's kernel."""
    try:
        isolation = configured_isolation(loaded, known or kernel())
    except IsolationError as error:
        yield fail("isolation", str(error), "do as it says: the service does not start so")
        return
    if isolation.missing:
        advice = "run on Linux 6.12 or later with Landlock, or only for users who trust each other"
        yield warn("isolation", f"{isolation.mode}: {'; '.join(isolation.missing)}", advice)
    else:
        yield ok("isolation", f"{isolation.mode}: Landlock {isolation.landlock} and seccomp")
    if isolation.jail is not None:
        yield from _unreadable_servers(loaded)


def _unreadable_servers(loaded: Loaded) -> Iterator[Finding]:
    settings = loaded.settings
    roots = readable_paths(settings)
    for name, server in settings.mcp_servers.items():
        if not isinstance(server, StdioServer):
            continue
        path = server.plain().get("env", {}).get("PATH") or os.environ.get("PATH")
        program = shutil.which(server.command, path=path)
        if program is not None and not is_readable(program, roots):
            advice = "add the program, and the folders of what it loads, to isolation.read"
            yield warn(f"MCP server {name}", f"agents may not run {program}", advice)
