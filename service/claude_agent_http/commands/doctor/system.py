"""The operating system: what the service can enforce on it."""

import platform
import sys

from claude_agent_http.commands.doctor.finding import Finding, ok, warn

__all__ = ["check_system"]

_MISSING = (
    "when the service or an agent's launcher is killed, processes that the agent started may outlive it "
    "(no child subreaper, no parent-death signal), and memory that processes share counts once for each"
)


def check_system(container: bool, name: str = sys.platform) -> Finding:
    found = f"{platform.system()} {platform.release()}{', in a container' if container else ''}"
    if name == "linux":
        return ok("system", found)
    return warn("system", f"{found}: {_MISSING}", "for more than trying it out, run it on Linux")
