"""Whether the agents that the limits allow would fit into memory."""

from pathlib import Path

import psutil

from claude_agent_http.commands.doctor.finding import Finding, fail, ok, warn
from claude_agent_http.settings import Settings

__all__ = ["SESSION_MB", "available_mb", "check_memory"]

SESSION_MB = 250
"""What one live agent process takes, about."""
_SERVICE_MB = 120
_MB = 1024 * 1024


def check_memory(settings: Settings, container: bool, cgroup: Path = Path("/sys/fs/cgroup")) -> Finding:
    free, limit, sessions = available_mb(cgroup), settings.api.memory_limit_mb, settings.api.max_sessions
    room = max(0, (min(free, limit) - _SERVICE_MB) // SESSION_MB)
    found = f"{free} MB available, limit {limit} MB: {_enough_for(room, sessions)}"
    if room == 0:
        where = "the container's limit and api.memory_limit_mb" if container else "api.memory_limit_mb"
        return fail("memory", found, f"give it at least {_SERVICE_MB + SESSION_MB} MB ({where})")
    if limit > free:
        advice = "the kernel may act before the limit does: lower api.memory_limit_mb or give it more memory"
        return warn("memory", found, advice)
    if room < sessions:
        advice = f"lower api.max_sessions or raise the memory: a live session takes about {SESSION_MB} MB"
        return warn("memory", found, advice)
    return ok("memory", found)


def _enough_for(room: int, sessions: int) -> str:
    if room == 0:
        return "too little for one live session"
    if room < sessions:
        return f"enough for about {room} live sessions, where api.max_sessions allows {sessions}"
    return f"enough for the {sessions} live sessions that api.max_sessions allows"


def available_mb(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """What is available to this container, or to the machine where no limit is set."""
    free = int(psutil.virtual_memory().available)
    for limit_name, usage_name in (("memory.max", "memory.current"), _VERSION_1):
        limit, usage = _number(cgroup / limit_name), _number(cgroup / usage_name)
        if limit is not None and usage is not None:
            free = min(free, max(0, limit - usage))
    return free // _MB


_VERSION_1 = ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
