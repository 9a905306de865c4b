"""What holds agents to what is theirs."""

import os
import shutil
from collections.abc import Iterator

from claude_agent_http.commands.doctor.finding import Finding, fail, ok, warn
from claude_agent_http.domain.errors import IsolationError
from claude_agent_http.isolation import configured_isolation, readable_paths, watches_each
from claude_agent_http.runtime.isolation import Kernel, is_readable, kernel
from claude_agent_http.settings import Loaded, Settings, StdioServer

__all__ = ["check_isolation"]


def check_isolation(loaded: Loaded, known: Kernel | None = None) -> Iterator[Finding]:
    """`known` stands in for this machine's kernel."""
    known = known or kernel()
    try:
        isolation = configured_isolation(loaded, known)
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
        yield from _scarce(loaded.settings, known)


def _scarce(settings: Settings, known: Kernel) -> Iterator[Finding]:
    """What the kernel counts for all of a uid, or of the host."""
    watches = watches_each(settings, known) * settings.api.max_sessions
    if watches > known.watches // 2:
        text = f"agents may take {watches} of the {known.watches} epoll watches of the service's uid"
        yield warn("epoll watches", text, "raise fs.epoll.max_user_watches, or lower api.max_sessions")
    files = settings.isolation.max_processes * settings.isolation.max_open_files
    if files > known.files // 2:
        text = f"one agent may open {files} of the {known.files} files that the host can have open"
        advice = "raise fs.file-max, or lower isolation.max_processes or isolation.max_open_files"
        yield warn("open files", text, advice)


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
