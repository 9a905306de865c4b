"""The end of a session's processes, whatever they would like."""

import os
import time

from claude_agent_http.launcher.kernel import SIGKILL
from claude_agent_http.launcher.processes import children, kill

__all__ = ["end_tree"]

_REAP_SECONDS = 5.0
_PAUSE_SECONDS = 0.002


def end_tree(cli: int) -> int:
    """Kill every descendant: as subreaper we inherit the orphans, also those that left the CLI's session. All
    are told before any is waited for, and what hangs in the kernel is waited for 5 s.

    Returns the CLI's status, as of `waitpid`: killed, when it was collected before or hangs."""
    status = SIGKILL
    kill(-cli, SIGKILL)
    limit = time.monotonic() + _REAP_SECONDS
    while time.monotonic() < limit:
        for child in children():
            kill(child, SIGKILL)
        try:
            ended, how = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            break
        status = how if ended == cli else status
        if ended == 0:
            # A killed child takes a moment to end, may leave us orphans to kill, and nothing tells of those.
            time.sleep(_PAUSE_SECONDS)
    return status
